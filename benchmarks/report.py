"""Results as one table for people and one JSON document for programs."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from .measure import Effort, Result

HEADINGS = ("case", "contender", "median", "ratio", "middle half", "goal", "")


def table(results: Sequence[Result]) -> str:
    """Ratios are the subject's figure to that of the row's contender."""
    rows: list[Sequence[str]] = [HEADINGS]
    for result in results:
        case = result.case
        for number, contender in enumerate(case.contenders):
            figure = f"{result.median(contender):,.3g} {case.unit.name}"
            if result.median(contender) >= 1000:
                figure = f"{result.median(contender):,.0f} {case.unit.name}"
            comparison = () if contender == case.subject else _comparison(result, contender)
            rows.append((case.name if number == 0 else "", contender, figure, *comparison))
    return _aligned(rows)


def _comparison(result: Result, rival: str) -> Sequence[str]:
    ratios = result.ratios(rival)
    low, ratio, high = statistics.quantiles(ratios, n=4)
    cells = [f"{ratio:.2f}x", f"{low:.2f}-{high:.2f}"]
    goal = result.case.rivals[rival]
    if goal is not None:
        sign = ">=" if result.case.unit.higher_is_better else "<="
        cells += [f"{sign} {goal}x", "met" if result.case.meets(ratio, goal) else "MISSED"]
    return cells


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    filled = [[*row, *[""] * (len(HEADINGS) - len(row))] for row in rows]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in filled
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def document(results: Sequence[Result], effort: Effort) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": {name: version(name) for name in ("ipcpipes", "trio", "cffi")},
        "effort": asdict(effort),
        "cases": {result.case.name: _case(result) for result in results},
    }


def _case(result: Result) -> dict[str, Any]:
    case = result.case
    comparisons = {}
    for rival, goal in case.rivals.items():
        ratio = statistics.median(result.ratios(rival))
        met = None if goal is None else case.meets(ratio, goal)
        comparisons[rival] = {"ratio": ratio, "goal": goal, "met": met}
    return {
        "unit": case.unit.name,
        "placement": case.placement,
        "higher_is_better": case.unit.higher_is_better,
        "subject": case.subject,
        "medians": {contender: result.median(contender) for contender in case.contenders},
        "ratios": comparisons,
        "figures": dict(result.figures),
    }
