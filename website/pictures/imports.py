"""Which rooms of the package import which, read from the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["room_imports"]

PACKAGE = Path(__file__).parents[2] / "src" / "ipcpipes"


def room_imports(rooms: Mapping[str, Sequence[str]]) -> set[tuple[str, str]]:
    """Returns the pairs (room, room that it imports), without those that follow from others.

    Args:
        rooms: the names of the modules and folders in each room, such as ``"rpc.core"``.

    Raises:
        ValueError: a module is in no room.
    """
    found: set[tuple[str, str]] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = _name(path)
        if name in {"__init__", "__main__"}:
            continue  # these import the public names of all rooms
        room = _room(name, rooms)
        found |= {(room, _room(other, rooms)) for other in _imports(path) if other != "__init__"}
    return _without_shortcuts({(room, other) for room, other in found if room != other})


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _room(module: str, rooms: Mapping[str, Sequence[str]]) -> str:
    candidates = [
        (len(part), room)
        for room, parts in rooms.items()
        for part in parts
        if f"{module}.".startswith(f"{part}.")
    ]
    if not candidates:
        raise ValueError(f"{module} is in no room of the picture")
    return max(candidates)[1]


def _imports(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    here = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in for_types or not node.level:
            continue
        base = [*here[: len(here) + 1 - node.level], *(node.module or "").split(".")]
        base = [part for part in base if part]
        for alias in node.names:
            longer = [*base, alias.name]
            is_module = (
                PACKAGE.joinpath(*longer).with_suffix(".py").exists()
                or PACKAGE.joinpath(*longer).is_dir()
                or longer == ["_ffi"]
            )
            yield ".".join(longer if is_module else base) or "__init__"


def _without_shortcuts(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Removes a pair when a longer way leads to the same room."""

    def reaches(start: str, end: str, avoided: tuple[str, str]) -> bool:
        return any(
            after == end or reaches(after, end, avoided)
            for before, after in pairs
            if before == start and (before, after) != avoided
        )

    return {pair for pair in pairs if not reaches(*pair, pair)}
