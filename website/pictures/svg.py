"""Writes SVG pictures that can be read on light and on dark pages.

Every word stands on a pale box, and lines are of a grey that is visible on both. So one picture
serves both themes, in the site and on a code host.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "RED", "Drawing"]

GREY, BLUE, GREEN, ORANGE, RED = "#e8eaed", "#d7e6f8", "#d9efdc", "#fbe6cc", "#f9d9d6"
_INK, _LINE = "#1f2328", "#7d8590"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_LINE_HEIGHT = 17

Point = tuple[float, float]


class Drawing:
    """A picture of ``width`` x ``height`` pixels. ``title`` describes it for screen readers."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = (width, height)
        self._title = title
        self._below: list[str] = []
        self._above: list[str] = []

    def box(
        self,
        centre: Point,
        size: Point,
        lines: Sequence[str],
        fill: str = GREY,
        *,
        is_round: bool = False,
        has_heading: bool = False,
    ) -> None:
        """A box with lines of text; the first line is bold if it is a heading."""
        (x, y), (width, height) = centre, size
        radius = height / 2 if is_round else 6
        self._above.append(
            f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" '
            f'height="{height:g}" rx="{radius:g}" fill="{fill}" stroke="{_LINE}"/>'
        )
        top = y - (len(lines) - 1) * _LINE_HEIGHT / 2
        for number, line in enumerate(lines):
            weight = ' font-weight="600"' if number == 0 and has_heading else ""
            self.text((x, top + number * _LINE_HEIGHT), line, weight)

    def text(self, at: Point, text: str, attributes: str = "", anchor: str = "middle") -> None:
        x, y = at
        self._above.append(
            f'<text x="{x:g}" y="{y + 4.5:g}" text-anchor="{anchor}"{attributes}>'
            f"{escape(text)}</text>"
        )

    def label(self, at: Point, text: str) -> None:
        """A word on a line."""
        self.box(at, (7.4 * len(text) + 12, 20), [text], "#ffffff")

    def rectangle(self, left_top: Point, size: Point, fill: str) -> None:
        (x, y), (width, height) = left_top, size
        self._below.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" '
            f'fill="{fill}"/>'
        )

    def arrow(self, *points: Point) -> None:
        """A line through the points, with a head at the last one."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._below.append(
            f'<polyline points="{path}" fill="none" stroke="{_LINE}" stroke-width="1.6" '
            'marker-end="url(#head)"/>'
        )

    def __str__(self) -> str:
        width, height = self._size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" font-family="{_FONT}" '
            f'font-size="13" fill="{_INK}">'
        )
        marker = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,0L8,4L0,8z" fill="{_LINE}"/>'
            "</marker></defs>"
        )
        title = f"<title>{escape(self._title)}</title>"
        return "\n".join([head, title, marker, *self._below, *self._above, "</svg>\n"])
