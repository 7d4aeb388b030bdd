"""The picture of the rooms: the arrows are the imports that the code has."""

from __future__ import annotations

from dataclasses import dataclass

from .imports import room_imports
from .svg import BLUE, GREEN, GREY, ORANGE, Drawing, Point

__all__ = ["draw_rooms"]

_COLUMN, _ROW, _WIDTH, _HEIGHT, _MARGIN = 210, 68, 176, 44, 16


@dataclass(frozen=True)
class _Room:
    column: float
    row: int
    about: str
    fill: str
    modules: tuple[str, ...]

    @property
    def centre(self) -> Point:
        return (
            _MARGIN + _WIDTH / 2 + self.column * _COLUMN,
            _MARGIN + _HEIGHT / 2 + self.row * _ROW,
        )


_ROOMS = {
    "_cli": _Room(1, 0, "the command line", GREY, ("_cli",)),
    "rpc/_trio": _Room(0, 1, "calls under trio", BLUE, ("rpc",)),
    "rpc/blocking": _Room(2, 1, "calls for threads", ORANGE, ("rpc.blocking",)),
    "rpc/core": _Room(0, 2, "sessions and calls", GREEN, ("rpc.core",)),
    "blocking": _Room(2, 2, "all of it for threads", ORANGE, ("blocking",)),
    "rpc/wire": _Room(0, 3, "frames and chunks", GREEN, ("rpc.wire",)),
    "child": _Room(1, 3, "parents, children, groups", BLUE, ("child",)),
    "broadcast": _Room(3, 3, "one to every client", BLUE, ("broadcast",)),
    "rpc/definition": _Room(0, 4, "interfaces", GREEN, ("rpc.definition", "rpc.errors")),
    "messages": _Room(1, 4, "channels", BLUE, ("messages",)),
    "running": _Room(3, 5, "ends on signals", BLUE, ("running",)),
    "waiting": _Room(3, 4, "the first of several", BLUE, ("waiting",)),
    "connections": _Room(1, 5, "streams", BLUE, ("connections",)),
    "blocking/abc": _Room(
        2, 5, "contracts for threads", ORANGE, ("blocking.abc", "blocking.wrapping")
    ),
    "authentication": _Room(1, 6, "a shared secret", BLUE, ("authentication",)),
    "opening": _Room(1, 7, "options and checks", GREY, ("opening",)),
    "security": _Room(1, 8, "access policies", GREY, ("security",)),
    "testing": _Room(3, 8, "memory streams, kits", GREY, ("testing",)),
    "_os": _Room(1, 9, "POSIX and Windows", GREY, ("_os",)),
    "framing": _Room(1, 10, "messages in bytes", GREEN, ("framing",)),
    "errors, abc, endpoint": _Room(
        0.5,
        11,
        "what all rooms use",
        GREY,
        ("errors", "abc", "activation", "endpoint", "options", "ending"),
    ),
    "_native": _Room(1.5, 11, "the C layer", GREY, ("_ffi",)),
}
# Arrows that would cross a box run down between the columns: at this column.
_DETOURS = {
    ("rpc/_trio", "connections"): 0.47,
    ("rpc/wire", "authentication"): 0.53,
    ("rpc/definition", "framing"): 0.0,
    ("blocking/abc", "opening"): 2.0,
    ("testing", "_os"): 3.0,
}
_LEGEND = {GREEN: "no I/O", BLUE: "trio", ORANGE: "threads", GREY: "both"}


def draw_rooms() -> Drawing:
    drawing = Drawing(
        2 * _MARGIN + 3 * _COLUMN + _WIDTH,
        2 * _MARGIN + 11 * _ROW + _HEIGHT,
        "The rooms of ipcpipes; an arrow leads from a room to a room that it imports",
    )
    for name, room in _ROOMS.items():
        size = (_WIDTH, _HEIGHT)
        drawing.box(room.centre, size, [name, room.about], room.fill, has_heading=True)
    pairs = room_imports({name: room.modules for name, room in _ROOMS.items()})
    for importer, imported in sorted(pairs):
        drawing.arrow(*_way(importer, imported))
    for number, (fill, text) in enumerate(_LEGEND.items()):
        left = _MARGIN + 3 * _COLUMN - 60 + number % 2 * 120
        drawing.box((left + 50, _MARGIN + 14 + number // 2 * 34), (104, 26), [text], fill)
    return drawing


def _way(importer: str, imported: str) -> list[Point]:
    (x, y), (to_x, to_y) = _ROOMS[importer].centre, _ROOMS[imported].centre
    bottom, top = y + _HEIGHT / 2, to_y - _HEIGHT / 2
    if (importer, imported) in _DETOURS:
        lane = _MARGIN + _WIDTH / 2 + _DETOURS[importer, imported] * _COLUMN
        side = to_x - _WIDTH / 2 if lane < to_x else to_x + _WIDTH / 2
        middle = bottom + (_ROW - _HEIGHT) / 2
        return [(x, bottom), (x, middle), (lane, middle), (lane, to_y), (side, to_y)]
    middle = top - (_ROW - _HEIGHT) / 2
    return [(x, bottom), (x, middle), (to_x, middle), (to_x, top)]
