"""The chart of the benchmarks, from the newest figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .svg import BLUE, GREY, Drawing

__all__ = ["draw_costs"]

_RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
_CASES = [
    "message-roundtrip-64-blocking",
    "message-roundtrip-64",
    "message-batches-64",
    "messages-1m",
    "rpc-call",
    "rpc-calls-64",
    "rpc-pipe-1m",
]
_UNITS = {"us": "µs", "k/s": "thousand a second", "GB/s": "GB/s"}
_BAR, _NAMES, _LONGEST = 22, 290, 330


def draw_costs() -> Drawing:
    newest = max(_RESULTS.glob("????-??-??.json"))
    cases: dict[str, Any] = json.loads(newest.read_text("utf-8"))["cases"]
    bars = sum(len(cases[name]["medians"]) for name in _CASES)
    height = bars * _BAR + len(_CASES) * 44 + 16
    drawing = Drawing(_NAMES + _LONGEST + 130, height, f"Benchmarks of {newest.stem}")
    y = 8.0
    for name in _CASES:
        case = cases[name]
        better = "more is better" if case["higher_is_better"] else "less is better"
        title = f"{case['title']} ({_UNITS[case['unit']]}; {better})"
        y += 14
        drawing.box((_NAMES + _LONGEST / 2 - 60, y), (_NAMES + _LONGEST + 120, 24), [title])
        y += 24
        most = max(case["medians"].values())
        for contender, value in case["medians"].items():
            length = max(value / most * _LONGEST, 2)
            is_ours = contender.startswith("ipcpipes")
            drawing.box((_NAMES / 2, y), (_NAMES - 10, 20), [contender], BLUE if is_ours else GREY)
            drawing.rectangle((_NAMES, y - 8), (length, 16), "#3b7dd8" if is_ours else "#8b949e")
            figure = f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
            drawing.label((_NAMES + length + 42, y), figure)
            y += _BAR
        y += 6
    return drawing
