"""The rooms: data falls down the list, and a room imports only rooms above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ipcpipes

PACKAGE = Path(ipcpipes.__file__).parent
# A module belongs to the longest of these names that its own name begins with.
ROOMS = [
    "_ffi",
    "errors",
    "ending",
    "abc",
    "activation",
    "endpoint",
    "framing",
    "options",
    "authentication.challenge",
    "_os.common",
    "_os.handles",
    "_os.posix",
    "_os.posix.trio",
    "_os.posix.blocking",
    "_os.windows",
    "_os.windows.trio",
    "_os.windows.blocking",
    "_os",
    "_os.blocking",
    "security",
    "opening",
    "authentication",
    "connections",
    "messages.core",
    "messages",
    "child",
    "child.group",
    "broadcast",
    "waiting",
    "running",
    "blocking.abc",
    "blocking.wrapping",
    "blocking.authentication",
    "blocking.connections",
    "blocking.messages",
    "blocking.child",
    "blocking.waiting",
    "blocking.running",
    "blocking",
    "rpc.errors",
    "rpc.definition",
    "rpc.wire",
    "rpc.core",
    "rpc._trio",
    "rpc",
    "rpc.blocking",
    "rpc.opentelemetry",
    "testing",
    "_cli",
    "__init__",
    "__main__",
]
# Rooms that only users enter: these may import the public names of the whole package.
OUTERMOST = {"testing", "_cli", "__init__", "__main__"}
# One driver and one system never import the other one.
TWINS = [
    ("_os.posix", "_os.windows"),
    ("_os.posix.trio", "_os.posix.blocking"),
    ("_os.windows.trio", "_os.windows.blocking"),
    ("rpc._trio", "rpc.blocking"),
    ("connections", "blocking.connections"),
    ("messages", "blocking.messages"),
    ("authentication", "blocking.authentication"),
    ("child", "blocking.child"),
]
# Modules of one twin that hold what both decide alike: the other twin imports them, too.
SHARED = {
    "messages.core",
    "authentication.challenge",
    "authentication.core",
    "child.adopting",
    "child.base",
    "child.pipes",
    "connections.reporting",
}
WITHOUT_IO = ["rpc.definition", "rpc.wire", "rpc.core", "framing", "authentication.challenge"]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(name: str) -> str | None:
    parts = name.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in ROOMS), None)


def is_inside(room: str, outer: str) -> bool:
    return room == outer or room.startswith(f"{outer}.")


def imports_at_run_time(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """Without the imports for types only, which are free."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in for_types:
            yield node


def imported_modules(path: Path) -> set[str]:
    """The modules of the package that a module imports, without the package's name."""
    here = path.relative_to(PACKAGE).parts[:-1]
    known = {name_of(module) for module in modules()} | {"_ffi"}
    found: set[str] = set()
    for node in imports_at_run_time(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                package, *inner = alias.name.split(".")
                if package == "ipcpipes":
                    found.add(".".join(inner) or "__init__")
            continue
        inner = node.module.split(".") if node.module else []
        if node.level:
            base = [*here[: len(here) + 1 - node.level], *inner]
        elif inner and inner[0] == "ipcpipes":
            base = inner[1:]
        else:
            continue
        for alias in node.names:
            name = ".".join([*base, alias.name])
            found.add(name if name in known else ".".join(base) or "__init__")
    return found


def test_every_module_belongs_to_a_room() -> None:
    for path in modules():
        assert room_of(name_of(path)) is not None, path.relative_to(PACKAGE)


def test_every_room_has_a_module() -> None:
    assert {room_of(name_of(path)) for path in modules()} | {"_ffi"} == set(ROOMS)


def test_a_room_imports_only_rooms_above_it() -> None:
    seen = set()
    for path in modules():
        room = room_of(name_of(path))
        assert room is not None
        for module in imported_modules(path):
            other = room_of(module)
            if other == room:
                continue
            seen.add((room, other))
            assert other is not None, f"{path.relative_to(PACKAGE)} imports {module}"
            if room == "__init__":
                continue  # the public names of all rooms
            allowed = ROOMS.index(other) < ROOMS.index(room) or (
                room in OUTERMOST and other == "__init__"
            )
            assert allowed, f"{path.relative_to(PACKAGE)} imports {module}"
    assert ("connections", "_os") in seen, "the test sees imports"
    assert ("_os.posix", "endpoint") in seen


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_twins_do_not_import_each_other(one: str, other: str) -> None:
    for path in modules():
        for here, there in ((one, other), (other, one)):
            if is_inside(name_of(path), here):
                for module in imported_modules(path) - SHARED:
                    assert not is_inside(module, there), f"{path.relative_to(PACKAGE)}: {module}"


@pytest.mark.parametrize(("one", "other"), TWINS[:1])
def test_system_twins_have_the_same_file_names(one: str, other: str) -> None:
    """What only one system has is named here."""
    files = [
        {path.relative_to(PACKAGE / room.replace(".", "/")).as_posix() for path in inside(room)}
        for room in (one, other)
    ]
    only_posix = {
        "address.py",
        "claim.py",
        "known.py",
        "pipe_size.py",
        "removing.py",
        "socket_end.py",
        "spawning.py",
        "standard_numbers.py",
    }
    only_windows = {
        "blocking/synchronous.py",
        "pipe_end.py",
        "synchronous.py",
        "trio/synchronous.py",
    }
    assert files[0] - files[1] == only_posix
    assert files[1] - files[0] == only_windows


def inside(room: str) -> list[Path]:
    return sorted((PACKAGE / room.replace(".", "/")).rglob("*.py"))


@pytest.mark.parametrize("room", WITHOUT_IO)
def test_cores_have_no_event_loop_and_no_threads(room: str) -> None:
    for path in modules():
        if is_inside(name_of(path), room):
            for node in imports_at_run_time(path):
                names = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                )
                for name in names:
                    assert name.split(".")[0] not in ("trio", "threading", "asyncio", "socket"), (
                        path
                    )


def test_only_os_and_framing_import_the_c_layer() -> None:
    for path in modules():
        if "_ffi" in imported_modules(path):
            assert name_of(path).split(".")[0] in ("_os", "framing"), path


def test_platform_differences_live_in_their_rooms() -> None:
    for path in modules():
        if "sys.platform" in path.read_text("utf-8"):
            assert name_of(path).split(".")[0] in ("_os", "security"), path


def test_modules_are_about_one_idea() -> None:
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 500, f"{path.relative_to(PACKAGE)} has {lines} lines"


def test_importing_is_cheap_and_quiet() -> None:
    # What trio brings with it (under Windows even asyncio) is not ours to avoid.
    program = (
        "import sys, trio; before = set(sys.modules)\n"
        "import ipcpipes; print(*set(sys.modules) - before)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "ipcpipes.connections.connect" in loaded
    unwanted = {"rich", "argparse", "ipcpipes.testing", "trio.testing", "pytest", "ctypes"}
    unwanted |= {"ipcpipes.blocking", "ipcpipes._os.blocking", "ipcpipes.rpc"}
    assert not unwanted & loaded
    assert result.stderr == ""
