"""The first programs that a new user meets run, and print what the page says that they print."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from .test_docs import ROOT, run

TUTORIAL = ROOT / "docs" / "tutorial.md"

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
