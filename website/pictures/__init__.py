"""The pictures of the documents. ``python -m website.pictures`` draws them again."""

from __future__ import annotations

from pathlib import Path

from .checks import draw_checks
from .costs import draw_costs
from .rooms import draw_rooms
from .states import draw_call, draw_connection, draw_pipe

__all__ = ["PICTURES", "draw_all"]

PICTURES = {
    "benchmarks": draw_costs,
    "call-states": draw_call,
    "checks": draw_checks,
    "connection-states": draw_connection,
    "pipe-turns": draw_pipe,
    "rooms": draw_rooms,
}


def draw_all(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(str(draw()), encoding="utf-8", newline="\n")
