"""The pictures of the states of a connection, of a call and of a pipe, from the code's tables."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar

from ipcpipes.rpc.core.state import (
    CALL,
    CONNECTION,
    CallState,
    ConnectionState,
    Cursor,
    Party,
)
from ipcpipes.rpc.errors import RpcError
from ipcpipes.rpc.wire.format import Kind

from .svg import BLUE, GREEN, GREY, RED, Drawing, Point

__all__ = ["draw_call", "draw_connection", "draw_pipe"]

_SIZE = (150, 44)

StateT = TypeVar("StateT", bound=enum.IntEnum)

_CALL_PLACES: dict[CallState, Point] = {
    CallState.NEW: (100, 40),
    CallState.OPEN: (420, 40),
    CallState.CANCELLING: (420, 220),
    CallState.ORPHANED: (740, 390),
    CallState.DONE: (100, 390),
}
_CONNECTION_PLACES: dict[ConnectionState, Point] = {
    ConnectionState.UNBOUND: (95, 50),
    ConnectionState.BINDING: (95, 160),
    ConnectionState.OPEN: (95, 270),
    ConnectionState.DRAINING: (95, 380),
    ConnectionState.CLOSED: (470, 160),
}


def draw_call() -> Drawing:
    drawing = Drawing(840, 430, "The states of a call, and the frames that change them")
    _draw(drawing, CALL, _CALL_PLACES)
    return drawing


def draw_connection() -> Drawing:
    drawing = Drawing(580, 420, "The states of a connection, and the frames that change them")
    _draw(drawing, CONNECTION, _CONNECTION_PLACES)
    return drawing


def _draw(
    drawing: Drawing,
    table: Mapping[tuple[StateT, Party, Kind], StateT],
    places: Mapping[StateT, Point],
) -> None:
    labels: dict[tuple[StateT, StateT], list[str]] = defaultdict(list)
    for (before, sender, kind), after in table.items():
        if before is not after:
            labels[before, after].append(f"{sender.name.lower()}: {kind.name}")
    final = {after for _, after in labels} - {before for before, _ in labels}
    for state, place in places.items():
        fill = GREY if state in final else BLUE
        drawing.box(place, _SIZE, [state.name.replace("_", " ")], fill, is_round=True)
    for (before, after), texts in labels.items():
        start, end = _edge(places[before], places[after]), _edge(places[after], places[before])
        drawing.arrow(start, end)
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        for number, text in enumerate(texts):
            drawing.label((x, y + (number - (len(texts) - 1) / 2) * 22), text)


def _edge(box: Point, other: Point) -> Point:
    """The point of a box's border at which a line to the other box begins."""
    (x, y), (width, height) = box, _SIZE
    if abs(other[1] - y) > height:
        return (x, y + height / 2 if other[1] > y else y - height / 2)
    return (x + width / 2 if other[0] > x else x - width / 2, y)


def draw_pipe() -> Drawing:
    """Three pipes of one call. The cursor says what a push and a pull do to each of them."""
    drawing = Drawing(700, 200, "The turns of the pipes of a call")
    cursor = Cursor(ins=[0, 1, 2], outs=[])
    cursor.advance()
    titles = ("its turn is over", "its turn", "its turn has not come")
    for pipe, title in enumerate(titles):
        push, pull = (_answer(cursor, pipe, pulling=pulling) for pulling in (False, True))
        fill = GREEN if push == pull == "works" else RED
        x = 120 + pipe * 230
        drawing.box((x, 56), (190, 44), [title], BLUE, is_round=True)
        drawing.box((x, 140), (210, 56), [f"push: {push}", f"pull: {pull}"], fill)
        if pipe < len(titles) - 1:
            drawing.arrow((x + 135, 56), (x + 95, 56))
    return drawing


def _answer(cursor: Cursor, pipe: int, *, pulling: bool) -> str:
    try:
        cursor.check(pipe, into=True, pulling=pulling)
    except RpcError as error:
        return type(error).__name__
    return "works"
