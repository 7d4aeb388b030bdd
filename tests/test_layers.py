"""The rooms: data falls down the list, and a room imports only rooms above it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import ipcpipes

PACKAGE = Path(ipcpipes.__file__).parent
ROOMS = [
    "_ffi",
    "errors",
    "ending",
    "abc",
    "endpoint",
    "framing",
    "options",
    "authentication",
    "_os",
    "security",
    "opening",
    "serving",
    "connect",
    "channel_base",
    "labelled_channel",
    "native_channel",
    "channel",
    "messages",
    "child",
    "broadcast",
    "running",
    "blocking",
    "rpc",
    "testing",
    "_echo",
    "_call",
    "__init__",
    "__main__",
]
# What is at the bottom is used by users only.
OUTERMOST = {"testing", "_echo", "_call", "__init__", "__main__"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a module imports from when it runs (imports for types only are free)."""
    depth = len(path.relative_to(PACKAGE).parts)
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
            found.update(name if name in ROOMS else "__init__" for name in names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ipcpipes"):
            parts = (node.module or "").split(".")
            found.update([parts[1]] if len(parts) > 1 else ["__init__"])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "ipcpipes":
                    found.update((*alias.name.split(".")[1:2], "__init__"))
    return found


def test_every_room_is_known() -> None:
    assert {room_of(path) for path in modules()} <= set(ROOMS)


def test_a_room_imports_only_rooms_above_it() -> None:
    seen = set()
    for path in modules():
        room = room_of(path)
        for other in imported_rooms(path) - {room}:
            seen.add((room, other))
            if room == "__init__":
                continue  # the public names of all of them
            allowed = ROOMS.index(other) < ROOMS.index(room) or (
                room in OUTERMOST and other == "__init__"
            )
            assert allowed, f"{path.relative_to(PACKAGE)} imports {other}"
    assert ("connect", "_os") in seen, "the test sees imports"
    assert ("_os", "endpoint") in seen


def test_only_os_and_framing_touch_the_c_layer() -> None:
    for path in modules():
        if "_ffi" in imported_rooms(path):
            assert room_of(path) in ("_os", "framing"), path


def test_platform_differences_live_in_their_rooms() -> None:
    for path in modules():
        if room_of(path) not in ("_os", "security") and "sys.platform" in path.read_text("utf-8"):
            assert path.stem.startswith(("posix_", "windows_")) or room_of(path) == "_echo", path


def test_modules_are_about_one_idea() -> None:
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 500, f"{path.relative_to(PACKAGE)} has {lines} lines"


def test_importing_is_cheap_and_quiet() -> None:
    import subprocess

    # What trio brings with it (under Windows even asyncio) is not ours to avoid.
    program = (
        "import sys, trio; before = set(sys.modules)\n"
        "import ipcpipes; print(*set(sys.modules) - before)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "ipcpipes.connect" in loaded
    for unwanted in ("rich", "argparse", "ipcpipes.testing", "trio.testing", "pytest", "ctypes"):
        assert unwanted not in loaded, unwanted
    assert result.stderr == ""
