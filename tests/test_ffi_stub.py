"""_ffi.pyi declares the functions of the C layer as the .cdef files do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "src" / "ipcpipes" / "_ffi.pyi"
NATIVE = ROOT / "_native"

if not STUB.exists() or not NATIVE.exists():
    pytest.skip("the C layer and its stub are not beside the tests", allow_module_level=True)


def declared_in_c(path: Path) -> dict[str, list[str]]:
    """The functions of a ``.cdef`` file, each with the names of its parameters."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)
    found = {}
    for name, parameters in re.findall(r"\b(ipc_\w+)\(([^()]*)\);", text):
        names = [re.findall(r"\w+", each)[-1] for each in parameters.split(",")]
        found[name] = [each for each in names if each != "void"]
    return found


def declared_in_stub() -> dict[str, dict[str, list[str]]]:
    """The functions below each name of a ``.cdef`` file."""
    found: dict[str, dict[str, list[str]]] = {}
    for part in re.split(r"^    # (?=\w+\.cdef$)", STUB.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        functions = re.findall(r"def (ipc_\w+)\(([^()]*)\)", part)
        found[part.split("\n", 1)[0]] = {
            name: re.findall(r"(\w+): ", parameters) for name, parameters in functions
        }
    return found


def test_the_stub_has_every_function_with_its_parameters() -> None:
    in_c = {path.name: declared_in_c(path) for path in NATIVE.glob("*.cdef")}
    assert sum(map(len, in_c.values())) > 80, "the test finds the functions"
    assert declared_in_stub() == in_c
