"""The programs of the guides that consist of several files run.

The first line of such a block names its file. A reader saves the files and runs the server and the
client in two terminals.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .children import SECONDS
from .test_docs import GUIDES, ROOT, blocks, run

DOCS = ROOT / "docs"

SERVER = """\
async def shout(channel):
    async for message in channel:
        await channel.send(message.upper())
"""

# What each client of the page prints.
PRINTED = {
    DOCS / "index.md": "b'hello, Ada'\n",
    DOCS / "messages.md": "GRÜSSE\nGOOD NIGHT\n",
    DOCS / "rpc.md": "100\n",
    DOCS / "tutorial.md": "b'HELLO'\n",
}


def files(page: Path) -> dict[str, list[str]]:
    """The blocks of a page that name a file, by the file's name; there is one in each tab."""
    found: dict[str, list[str]] = {}
    for code in blocks(page, "py"):
        if match := re.match(r"# (\w+\.py)\n", code):
            found.setdefault(match[1], []).append(code)
    return found


def test_each_page_with_a_server_and_a_client_is_checked() -> None:
    pages = {page for page in GUIDES if {"server.py", "client.py"} <= files(page).keys()}
    assert pages == PRINTED.keys()


def save(page: Path, number: int, folder: Path) -> Path:
    """Saves the files of one tab, and returns the folder."""
    folder.mkdir()
    for name, codes in files(page).items():
        (folder / name).write_text(codes[min(number, len(codes) - 1)], encoding="utf-8")
    return folder


@pytest.mark.parametrize("page", PRINTED, ids=lambda page: page.stem)
def test_each_server_works_with_each_client(page: Path, tmp_path: Path) -> None:
    names = files(page)
    for server in range(len(names["server.py"])):
        for client in range(len(names["client.py"])):
            server_folder = save(page, server, tmp_path / f"server-{server}-{client}")
            client_folder = save(page, client, tmp_path / f"client-{server}-{client}")
            running = subprocess.Popen(
                [sys.executable, "-W", "error", str(server_folder / "server.py")]
            )
            try:
                code = (client_folder / "client.py").read_text("utf-8")
                assert run(code, client_folder) == PRINTED[page]
            finally:
                running.terminate()
                running.wait(SECONDS)


def test_fixture_of_the_recipe_works(tmp_path: Path) -> None:
    ((name, (tests,)),) = files(DOCS / "recipes" / "testing.md").items()
    (tmp_path / name).write_text(tests, encoding="utf-8")
    (tmp_path / "myserver.py").write_text(SERVER, encoding="utf-8")
    (settings,) = blocks(DOCS / "recipes" / "testing.md", "toml")
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout
