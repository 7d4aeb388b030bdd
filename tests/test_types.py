"""mypy and pyright, both in their strict modes, see the types that the guides promise."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the checkers say the same on every system", allow_module_level=True)

from .test_docs import GUIDES, README, ROOT, blocks

TYPED = Path(__file__).parent / "typed"

IMPORTS = "from typing import Annotated\nfrom ipcpipes import rpc\n_ = Annotated\n"

Lines = set[tuple[str, int]]


def _mypy(folder: Path) -> Lines:
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    found = re.findall(r"^(\w+\.py):(\d+): error: ", run.stdout, re.MULTILINE)
    assert run.stdout.count(": error: ") == len(found), run.stdout
    return {(name, int(line)) for name, line in found}


def _pyright(folder: Path) -> Lines:
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in json.loads(run.stdout)["generalDiagnostics"]
    }


both_checkers = pytest.mark.parametrize("check", [_mypy, _pyright])


@both_checkers
def test_checkers_refuse_the_marked_lines_and_no_others(
    check: Callable[[Path], Lines], tmp_path: Path
) -> None:
    marked: Lines = set()
    for program in TYPED.glob("with_*.py"):
        shutil.copy(program, tmp_path)
        lines = program.read_text().splitlines()
        marked |= {
            (program.name, number)
            for number, line in enumerate(lines, 1)
            if line.endswith("  # error")
        }
    assert len(marked) > 30
    stubs = subprocess.run(
        [sys.executable, "-m", "ipcpipes", "stubs", "with_trio:Thumbs"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    (tmp_path / "written.py").write_bytes(stubs.stdout)
    assert check(tmp_path) == marked


@both_checkers
def test_interfaces_of_the_documents_are_accepted(
    check: Callable[[Path], Lines], tmp_path: Path
) -> None:
    programs: dict[str, str] = {}
    for document in [README, *GUIDES]:
        for number, code in enumerate(blocks(document, "(?:python|py)")):
            text = interfaces_in(code)
            if text:
                programs[f"{document.stem.replace('-', '_')}_{number}.py"] = text
    assert len(programs) > 20
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
    assert {
        (name, programs[name].splitlines()[line - 1]) for name, line in check(tmp_path)
    } == set()


@both_checkers
def test_programs_of_the_guide_are_accepted(check: Callable[[Path], Lines], tmp_path: Path) -> None:
    programs = blocks(ROOT / "docs" / "rpc-types.md", "python")
    assert len(programs) > 3
    for number, code in enumerate(programs):
        (tmp_path / f"program_{number}.py").write_text(code)
    assert check(tmp_path) == set()


def interfaces_in(code: str) -> str:
    """Returns the interfaces of a program, and the imports and types that they need."""
    tree = ast.parse(code)
    wanted: set[str] = set()
    kept: list[ast.stmt] = []
    for statement in reversed(tree.body):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            names = [one for one in statement.names if _bound_by(one) in wanted]
            if names:
                statement.names = names
                kept.append(statement)
        elif _is_interface(statement) or wanted & _assigned_by(statement):
            kept.append(statement)
            wanted |= {each.id for each in ast.walk(statement) if isinstance(each, ast.Name)}
    if not any(map(_is_interface, kept)):
        return ""
    text = ast.unparse(ast.Module([*reversed(kept)], []))
    # A part of a program has no imports.
    is_whole = any(isinstance(one, (ast.Import, ast.ImportFrom)) for one in kept)
    return text if is_whole else IMPORTS + text


def _is_interface(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ClassDef) and any(
        # Anything else means that the text is not a program; it shows a mistake.
        one.arg == "uuid" and re.fullmatch(r"'[0-9a-f-]{36}'", ast.unparse(one.value))
        for one in statement.keywords
    )


def _bound_by(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _assigned_by(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return {each.id for each in targets if isinstance(each, ast.Name)}
