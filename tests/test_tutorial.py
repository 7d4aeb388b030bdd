"""The first programs that a new user meets run, and print what the page says that they print."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .children import SECONDS
from .test_docs import ROOT, blocks, run

TUTORIAL = ROOT / "docs" / "tutorial.md"
HOME = ROOT / "docs" / "index.md"

# A program, the programs in other tabs, and the block of text behind them.
PROGRAM_AND_OUTPUT = re.compile(
    r"^( *)```python\n((?:(?!```)[^\0])*)^ *```\n\n"
    r"(?:=== .*\n\n(?: .*\n|\n)*)?"
    r"```text\n((?:(?!```)[^\0])*)```$",
    re.MULTILINE,
)


def steps() -> list[tuple[str, str]]:
    found = PROGRAM_AND_OUTPUT.findall(TUTORIAL.read_text("utf-8"))
    return [(textwrap.dedent(code), printed) for _, code, printed in found]


def without_address(text: str) -> str:
    """An error says where it looked, which differs between systems and environments."""
    text = re.sub(r"\(at [^)]*\)", "(at ADDRESS)", text)
    return re.sub(r"; no server listens at .* either$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("step", range(8))
def test_program_prints_what_the_tutorial_says(step: int, tmp_path: Path) -> None:
    code, printed = steps()[step]
    assert without_address(run(code, tmp_path)) == without_address(printed)


def test_each_program_of_the_tutorial_is_followed_by_its_output() -> None:
    text = TUTORIAL.read_text("utf-8")
    at_the_margin = re.findall(r"^```python$", text, re.MULTILINE)
    in_tabs = re.findall(r'^=== "trio"\n\n    ```python$', text, re.MULTILINE)
    assert len(steps()) == len(at_the_margin) + len(in_tabs) == 8


@pytest.mark.parametrize(
    ("page", "printed"),
    [
        pytest.param(TUTORIAL, "b'HELLO'\n", id="tutorial"),
        pytest.param(HOME, "b'hello, Ada'\n", id="home"),
    ],
)
def test_each_server_works_with_each_client(page: Path, printed: str, tmp_path: Path) -> None:
    """The blocks that name a file: the reader runs them in two terminals."""
    files = blocks(page, "py")
    servers = [code for code in files if code.startswith("# server.py\n")]
    clients = [code for code in files if code.startswith("# client.py\n")]
    assert len(servers) == len(clients) == 2
    assert printed in blocks(page, "text")
    for server in servers:
        path = tmp_path / "server.py"
        path.write_text(server, encoding="utf-8")
        running = subprocess.Popen([sys.executable, "-W", "error", str(path)])
        try:
            for client in clients:
                assert run(client, tmp_path) == printed
        finally:
            running.terminate()
            running.wait(SECONDS)
