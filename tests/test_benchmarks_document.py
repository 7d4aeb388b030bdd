"""Each row of a table of measurements in the guides is what the newest results say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
CHOOSING = ROOT / "docs" / "choosing.md"

if not BENCHMARKS.exists() or not RESULTS.exists():
    pytest.skip("the documents and the results are not beside the tests", allow_module_level=True)

# A page for readers who choose a library shows the ratios without the goals of the project.
COLUMNS = "| measured | ipcpipes | compared with | ratio (middle half) |"
HEADINGS = {BENCHMARKS: f"{COLUMNS} goal |", CHOOSING: COLUMNS}
UNITS = {"us": "µs", "k/s": "thousand/s"}


class Row(NamedTuple):
    """The cells that the results decide."""

    title: str
    subject: str
    rival: str
    ratio: str
    goal: str


def newest() -> tuple[str, Mapping[str, Any]]:
    path = max(RESULTS.glob("????-??-??.json"))
    return path.stem, json.loads(path.read_text("utf-8"))


def figure(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value >= 1000 else f"{value:,.3g}"
    return f"{number} {UNITS.get(unit, unit)}"


def goal(case: Mapping[str, Any], value: float | None, met: bool | None, unit: str = "") -> str:
    if value is None:
        return ""
    bound = "at least" if case["higher_is_better"] else "at most"
    return f"{bound} {value:g}{unit}: {'met' if met else 'missed'}"


def expected(document: Mapping[str, Any]) -> Iterator[Row]:
    for case in document["cases"].values():
        unit = case["unit"]
        subject = f"`{case['subject']}`: {figure(case['medians'][case['subject']], unit)}"
        if case["limit"] is not None:
            limit = goal(case, case["limit"], case["within_limit"], f" {UNITS.get(unit, unit)}")
            yield Row(case["title"], subject, "", "", limit)
        for rival, found in case["ratios"].items():
            yield Row(
                case["title"],
                subject,
                f"{rival}: {figure(case['medians'][rival], unit)}",
                f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})",
                goal(case, found["goal"], found["met"]),
            )


def written(path: Path) -> Iterator[tuple[str, Row]]:
    """The rows of the measurement tables of a guide, each with the heading above its table."""
    section, title, subject, inside = "", "", "", False
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        if not line.startswith("|"):
            inside = False
        elif line.startswith(COLUMNS):
            assert line.startswith(HEADINGS[path])
            inside = True
        elif inside and not line.startswith("| ---"):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            # The rows of a case after its first one leave the cells that would repeat it empty.
            title, subject = cells[0] or title, cells[1] or subject
            end = cells[2:5] if path == BENCHMARKS else [*cells[2:4], ""]
            yield section, Row(title, subject, *end)


def test_rows_are_those_of_the_newest_results() -> None:
    rows = [row for _, row in written(BENCHMARKS)]
    assert rows
    assert set(rows) <= set(expected(newest()[1]))


def test_rows_without_goals_are_those_of_the_newest_results() -> None:
    rows = [row for _, row in written(CHOOSING)]
    assert rows
    assert set(rows) <= {row._replace(goal="") for row in expected(newest()[1])}


def test_benchmarks_page_has_every_figure() -> None:
    rows = {row for section, row in written(BENCHMARKS) if section == "All figures"}
    assert rows == set(expected(newest()[1]))


def test_benchmarks_page_has_every_missed_goal() -> None:
    rows = {row for section, row in written(BENCHMARKS) if section == "Goals that are missed"}
    assert rows == {row for row in expected(newest()[1]) if row.goal.endswith("missed")}


@pytest.mark.parametrize("path", [BENCHMARKS, CHOOSING], ids=lambda path: path.stem)
def test_pages_name_the_run(path: Path) -> None:
    date, document = newest()
    text = re.sub(r"\s+", " ", path.read_text("utf-8"))
    assert f"results/{date}.json" in text
    assert document["python"] in text
