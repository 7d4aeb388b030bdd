"""The figures as a picture: a panel for each case, a bar for each contender.

``python -m benchmarks.chart FIGURES.json CHART.png`` draws the figures of an earlier run.
"""

# Type checking must also work where matplotlib is not installed.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

TIMES = "\N{MULTIPLICATION SIGN}"
UNITS = {"us": "µs", "/s": "a second", "k/s": "thousands a second"}

PAPER = "#fdfcf8"
INK = "#24292f"
FAINT = "#7d7a72"
RIVAL = "#d3cec2"
SUBJECT = "#1f6f8b"
RELATIVE = "#9cc3d0"  # ipcpipes too, but not what the case is about
MET = "#2e7d4f"
MISSED = "#b3401f"

# All lengths are inches.
COLUMNS = 2
WIDTH = 14.5
MARGIN = 0.45
HEADER = 1.05
BAR = 0.29
LINE = 0.23
TITLE = 0.42
GAP = 0.24
NAMES = 3.1  # to the left of the bars
FIGURES = 0.8  # to the right of the longest
# Parts of a row.
THICK = 0.66
# A bar that is so many times as long as the next one is cut, so that the others stay visible.
LONG = 2.5
CUT = 1.2  # times the longest bar that is not cut


@dataclass(frozen=True)
class Panel:
    """One case of the document."""

    case: Mapping[str, Any]

    @property
    def subject(self) -> str:
        return str(self.case["subject"])

    @property
    def bars(self) -> Sequence[tuple[str, float]]:
        """The best one first."""
        medians = self.case["medians"].items()
        return sorted(medians, key=lambda bar: bar[1], reverse=self.case["higher_is_better"])

    @property
    def whole(self) -> float:
        """The longest bar that is not cut; never less than the bar of the subject."""
        first, *shorter = sorted(self.bars, key=lambda bar: bar[1], reverse=True)
        while shorter and first[0] != self.subject and first[1] > LONG * shorter[0][1]:
            first, *shorter = shorter
        return first[1]

    def goals(self) -> Iterator[tuple[float, str, bool]]:
        """Yields for each goal the figure that the subject needs, the goal in words, and whether it
        is met.

        The goal is about the median of the ratios, but the bars are medians of figures, so its
        place is computed from the bar of the subject.
        """
        case, sign = self.case, "≥" if self.case["higher_is_better"] else "≤"
        own = case["medians"].get(self.subject)
        for rival, how in case["ratios"].items():
            if how["goal"] is not None:
                words = f"{sign} {how['goal']:g}{TIMES} {rival}: {how['ratio']:.2f}{TIMES}"
                yield own * how["goal"] / how["ratio"], words, how["met"]
        if case["within_limit"] is not None:
            words = f"{sign} {case['limit']:g} {case['unit']}: {_figure(own)}"
            yield case["limit"], words, case["within_limit"]

    @property
    def height(self) -> float:
        return TITLE + LINE * len(self.notes) + BAR * len(self.bars) + GAP

    @property
    def notes(self) -> Sequence[tuple[str, str]]:
        """Lines below the title, and their colours."""
        lines = [
            (f"{'✓' if met else '✗'}  goal {words}", MET if met else MISSED)
            for _, words, met in self.goals()
        ]
        if self.case["missing"]:
            lines.append((f"missing: {', '.join(self.case['missing'])}", FAINT))
        return lines


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Draws the chart of ``document``, as :func:`benchmarks.report.document` makes it (PNG)."""
    columns = _columns([Panel(case) for case in document["cases"].values() if case["medians"]])
    height = HEADER + max(sum(panel.height for panel in column) for column in columns)
    width = WIDTH if len(columns) == COLUMNS else WIDTH / COLUMNS
    figure = Figure(figsize=(width, height), facecolor=PAPER, dpi=150)
    _header(figure, document)
    for number, column in enumerate(columns):
        left = number * width / len(columns) + MARGIN
        top = height - HEADER
        for panel in column:
            _panel(figure, panel, left, top, width / len(columns) - 2 * MARGIN)
            top -= panel.height
    figure.savefig(path, facecolor=PAPER)


def _columns(panels: Sequence[Panel]) -> Sequence[Sequence[Panel]]:
    """Splits the panels, in their order, so that the columns have about the same length."""

    def longest(cut: int) -> float:
        parts = (panels[:cut], panels[cut:])
        return max(sum(panel.height for panel in part) for part in parts)

    if len(panels) < COLUMNS:
        return [panels]
    cut = min(range(1, len(panels)), key=longest)
    return [panels[:cut], panels[cut:]]


def _header(figure: Figure, document: Mapping[str, Any]) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    lines = [
        ("The cost of talking to another process on the same machine", 0.36, 17, INK, "bold"),
        (f"{document['system']}, Python {document['python']}", 0.64, 9, FAINT, "normal"),
        (versions, 0.82, 9, FAINT, "normal"),
    ]
    for text, down, size, colour, weight in lines:
        x, y = _place(figure, MARGIN, figure.get_figheight() - down)
        figure.text(x, y, text, fontsize=size, color=colour, fontweight=weight)


def _panel(figure: Figure, panel: Panel, left: float, top: float, width: float) -> None:
    case = panel.case
    title = figure.text(
        *_place(figure, left, top - LINE),
        case["title"],
        fontsize=11.5,
        color=INK,
        fontweight="bold",
    )
    better = "more is better" if case["higher_is_better"] else "less is better"
    title_width = title.get_window_extent().width / figure.dpi
    figure.text(
        *_place(figure, left + title_width + 0.12, top - LINE),
        f"{UNITS.get(case['unit'], case['unit'])}, {better}",
        fontsize=8.5,
        color=FAINT,
    )
    down = TITLE
    for text, colour in panel.notes:
        figure.text(*_place(figure, left, top - down), text, fontsize=8.5, color=colour)
        down += LINE
    depth = BAR * len(panel.bars)
    x, y = _place(figure, left + NAMES, top - down - depth + LINE * 0.6)
    w, h = _place(figure, width - NAMES - FIGURES, depth)
    _bars(figure.add_axes((x, y, w, h)), panel)


def _bars(axes: Axes, panel: Panel) -> None:
    marks = [(at, MET if met else MISSED) for at, _, met in panel.goals()]
    longest = max(figure for _, figure in panel.bars)
    end = max(panel.whole * (CUT if longest > panel.whole else 1), *(at for at, _ in marks), 0)
    axes.set_axis_off()
    axes.set_xlim(0, end)
    axes.set_ylim(len(panel.bars) - 0.5, -0.5)
    for row, (name, figure) in enumerate(panel.bars):
        ours, subject = name.startswith("ipcpipes"), name == panel.subject
        colour = SUBJECT if subject else RELATIVE if ours else RIVAL
        length = min(figure, end)
        axes.barh(row, length, height=THICK, color=colour)
        if figure > end:
            _cut(axes, row, end)
        label = length
        for at, mark in marks if subject else ():
            axes.plot([at, at], [row - 0.5, row + 0.5], color=mark, linewidth=2, clip_on=False)
            if length <= at <= length + 0.16 * end:  # the mark would cross the number
                label = max(label, at)
        style: Mapping[str, Any] = {
            "va": "center_baseline",
            "fontsize": 9,
            "color": INK,
            "fontweight": "bold" if subject else "normal",
        }
        axes.text(-0.015 * end, row, name, ha="right", **style)
        axes.text(label + 0.02 * end, row, _figure(figure), ha="left", **style)


def _cut(axes: Axes, row: int, end: float) -> None:
    """Draws two strokes through a bar that is cut."""
    for at in (0.92 * end, 0.945 * end):
        slant = 0.01 * end
        axes.plot([at - slant, at + slant], [row + 0.4, row - 0.4], color=PAPER, linewidth=2.2)


def _place(figure: Figure, x: float, y: float) -> tuple[float, float]:
    """Converts inches to fractions of the figure, the unit of matplotlib."""
    return x / figure.get_figwidth(), y / figure.get_figheight()


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    draw(json.loads(source.read_text(encoding="utf-8")), target)
