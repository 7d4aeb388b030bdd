"""The README and the guides are true: their code runs, their commands are the ones CI runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ipcpipes

from .children import SECONDS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

if not README.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)

GUIDES = sorted((ROOT / "docs").glob("*.md"))


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def programs() -> list[object]:
    return [
        pytest.param(code, id=f"{path.stem}-{number}")
        for path in GUIDES
        for number, code in enumerate(blocks(path, "python"))
    ]


@pytest.mark.parametrize("code", programs())
def test_the_programs_of_the_guides_run(code: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
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
    assert result.stdout


async def test_the_server_and_the_client_of_the_readme(tmp_path: Path) -> None:
    server, client = blocks(README, "python")
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
        pass  # removes what the killed server left


def test_the_two_commands_are_the_ones_that_ci_runs() -> None:
    first, second = (block.strip() for block in blocks(README, "console"))
    assert first == "python -m pip install . && python -m ipcpipes echo"
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("the sdist does not carry .ci")
    for command in (first, second):
        assert f"\n{command}\n" in script.read_text("utf-8")


def test_links_lead_somewhere() -> None:
    for path in (README, *GUIDES):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_versions_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'\nversion = "{ipcpipes.__version__}"\n' in project
    for name in ipcpipes.__all__:
        assert getattr(ipcpipes, name).__doc__ or name == "abc", f"{name} is documented"
