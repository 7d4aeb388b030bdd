"""The results as a table for people and a JSON document for programs."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .cases import Contender, Unit
from .measure import Effort, Result

HEADINGS = ("case", "contender", "median", "ratio", "middle half", "goal", "")
PACKAGES = ("ipcpipes", "trio", "cffi", "uvloop", "pyzmq", "grpcio")
VERDICTS = {None: "", True: "met", False: "MISSED"}


def table(results: Sequence[Result]) -> str:
    """Returns the table. A ratio is the figure of the subject to that of the row's contender."""
    rows: list[Sequence[str]] = [HEADINGS]
    for result in results:
        for number, contender in enumerate(result.case.contenders):
            name = result.case.name if number == 0 else ""
            rows.append((name, str(contender), *_cells(result, contender)))
    return _aligned(rows)


def figure(value: float, unit: Unit) -> str:
    return f"{value:,.0f} {unit.name}" if value >= 1000 else f"{value:,.3g} {unit.name}"


def goal(value: float, unit: Unit) -> str:
    return f"{'>=' if unit.higher_is_better else '<='} {value:g}"


def _cells(result: Result, contender: Contender) -> Sequence[str]:
    case = result.case
    if contender in result.missing:
        return [f"missing: {result.missing[contender]}"]
    median = figure(result.median(contender), case.unit)
    if contender == case.subject:
        if case.limit is None:
            return [median]
        limit = f"{goal(case.limit, case.unit)} {case.unit.name}"
        return [median, "", "", limit, VERDICTS[result.within_limit]]
    comparison = result.comparison(contender)
    if comparison is None:
        return [median]
    cells = [median, f"{comparison.ratio:.2f}x", f"{comparison.low:.2f}-{comparison.high:.2f}"]
    if comparison.goal is not None:
        cells += [f"{goal(comparison.goal, case.unit)}x", VERDICTS[comparison.met]]
    return cells


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    filled = [[*row, *[""] * (len(HEADINGS) - len(row))] for row in rows]
    # The reason why a contender is missing may extend over the columns to the right.
    widths = [
        max(len(cell) for cell in column if not cell.startswith("missing"))
        for column in zip(*filled, strict=True)
    ]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in filled
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def document(results: Sequence[Result], effort: Effort) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": _versions(),
        "effort": asdict(effort),
        "cases": {result.case.name: _case(result) for result in results},
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _case(result: Result) -> dict[str, Any]:
    case = result.case
    comparisons = {rival: result.comparison(rival) for rival in case.rivals}
    return {
        "title": case.title,
        "unit": case.unit.name,
        "placement": case.placement,
        "heap": case.heap,
        "higher_is_better": case.unit.higher_is_better,
        "subject": str(case.subject),
        "limit": case.limit,
        "within_limit": result.within_limit,
        "medians": {str(contender): result.median(contender) for contender in result.figures},
        "ratios": {str(rival): asdict(found) for rival, found in comparisons.items() if found},
        "figures": {str(contender): figures for contender, figures in result.figures.items()},
        "missing": {str(contender): reason for contender, reason in result.missing.items()},
    }
