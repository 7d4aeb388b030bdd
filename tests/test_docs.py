"""The README and the guides are correct: their code runs, and CI runs their commands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
import typing
from pathlib import Path

import pytest

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import element_of

from .children import SECONDS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

if not README.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)

GUIDES = sorted((ROOT / "docs").rglob("*.md"))


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a document; those in tabs are indented."""
    pattern = rf"^( *)```{language}\n(.*?)^\1```$"
    found = re.findall(pattern, path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def programs() -> list[object]:
    return [
        pytest.param(code, id=f"{path.stem}-{number}")
        for path in GUIDES
        for number, code in enumerate(blocks(path, "python"))
    ]


@pytest.mark.parametrize("code", programs())
def test_programs_in_the_guides_run(code: str, tmp_path: Path) -> None:
    printed = run(code, tmp_path).splitlines()
    assert printed
    if len(printed) == 1 and f'print("{printed[0]}")' in code:
        return  # the program says why it cannot run here, or has nothing else to say
    for comment in re.findall(r"^ *print\(.*\)  # (.+)$", code, re.MULTILINE):
        if is_literal(comment):
            assert comment in printed


def is_literal(text: str) -> bool:
    """Whether a comment shows what is printed, such as ``b'HELLO'``, and does not describe it."""
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True


async def test_readme_server_and_client_run(tmp_path: Path) -> None:
    server, client, *others = blocks(README, "python")
    for name, code in (("server.py", server), ("client.py", client)):
        assert code.startswith(f"# {name}\n")
        lines = [line for line in code.splitlines()[1:] if line.strip()]
        assert len(lines) <= 10
        (tmp_path / name).write_text(code, encoding="utf-8")
    running = subprocess.Popen([sys.executable, str(tmp_path / "server.py")])
    try:
        result = subprocess.run(
            [sys.executable, str(tmp_path / "client.py")],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert (result.returncode, result.stdout) == (0, "Hello, pipe!\n"), result.stderr
    finally:
        running.kill()
        running.wait(SECONDS)
    async with await ipcpipes.listen("hello"):
        pass  # removes the socket file that the killed server left
    for code in others:
        assert run(code, tmp_path)


def run(code: str, folder: Path) -> str:
    program = folder / "program.py"
    program.write_text(code, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_rpc_guide_shows_the_real_output(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "rpc.md").read_text("utf-8")
    (found,) = re.findall(
        r"^```python\n((?:(?!```)[^\0])*)```\n\n```text\n((?:(?!```)[^\0])*)```$",
        text,
        re.MULTILINE,
    )
    code, printed = found
    assert run(code, tmp_path) == printed


def test_rpc_guide_lists_every_error_code() -> None:
    text = (ROOT / "docs" / "rpc-operations.md").read_text("utf-8")
    errors = {
        name: str(error.default_code)
        for name in rpc.__all__
        if isinstance(error := getattr(rpc, name), type)
        and issubclass(error, rpc.RpcError)
        and hasattr(error, "default_code")
    }
    table = dict(re.findall(r"^\| `(\w+)` \| (\d+)[^|]*\|[^|]*\|[^|]*\|$", text, re.MULTILINE))
    assert table == errors


def test_rpc_guide_lists_every_element_type() -> None:
    text = (ROOT / "docs" / "rpc-pipes.md").read_text("utf-8")
    rows = re.findall(r"^\| (`rpc\.\w+`.*?) \| ([\d, ]+) \| \S+ \| (.*) \|$", text, re.MULTILINE)
    written = {}
    for names, sizes, formats in rows:
        found = re.findall(r"`rpc\.(\w+)`", names)
        columns = (re.findall(r"\d+", sizes), re.findall(r"`(.)`", formats))
        for place, name in enumerate(found):
            written[name] = tuple(column[min(place, len(column) - 1)] for column in columns)
    expected = {}
    for name in rpc.__all__:
        if name == name.lower() and typing.get_origin(getattr(rpc, name)) is typing.Annotated:
            element = element_of(getattr(rpc, name))
            expected[name] = (str(element.size), element.format)
    assert written == expected
    assert len(expected) == 12


def test_readme_commands_are_those_of_ci() -> None:
    first, second = (block.strip() for block in blocks(README, "console"))
    assert first == "python -m pip install . && python -m ipcpipes echo"
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("the sdist does not carry .ci")
    for command in (first, second):
        assert f"\n{command}\n" in script.read_text("utf-8")


def test_relative_links_exist() -> None:
    for path in (README, *GUIDES):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_links_to_files_of_the_repository_exist() -> None:
    """The site has only the documents, so links to other files lead to the repository."""
    found = []
    for path in GUIDES:
        text = path.read_text("utf-8")
        assert not re.search(r"\]\((\.\./)+(examples|benchmarks|src|tests|CONTRIBUTING)", text), (
            path
        )
        found += re.findall(r"github\.com/ipcpipes/ipcpipes/blob/main/([^)#]+)", text)
    assert found
    for target in found:
        if (ROOT / ".ci").exists() or not target.startswith("benchmarks/results"):
            assert (ROOT / target).exists(), target


def test_version_and_docstrings() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'\nversion = "{ipcpipes.__version__}"\n' in project
    for name in ipcpipes.__all__:
        assert getattr(ipcpipes, name).__doc__ or name == "abc", f"{name} is documented"
