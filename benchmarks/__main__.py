"""Runs the cases, prints the table, writes the JSON and draws the chart."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from .cases import CASES
from .measure import FULL, QUICK, measure
from .output import say
from .report import document, table

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write the figures")
    parser.add_argument("--chart", type=Path, metavar="PATH", help="where to draw the chart (PNG)")
    parser.add_argument("--only", metavar="NAME", help="only cases with NAME in their names")
    parser.add_argument(
        "--apart", action="store_true", help="throughput with the ends on two CPUs, not on any"
    )
    options = parser.parse_args()
    if sys.platform == "win32":
        parser.error("there are no cases for Windows; the rivals use Unix domain sockets")
    chosen = [case for case in CASES if options.only is None or options.only in case.name]
    if not chosen:
        names = ", ".join(case.name for case in CASES)
        parser.error(f"no case has {options.only!r} in its name; there are {names}")
    if options.apart:
        chosen = [
            replace(case, placement="apart") if case.placement == "free" else case
            for case in chosen
        ]
    effort = QUICK if options.quick else FULL

    with tempfile.TemporaryDirectory(prefix="ipcpipes-bench-") as directory:
        results = [measure(case, effort, Path(directory)) for case in chosen]
    say(table(results))

    figures = document(results, effort)
    path = options.json or RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    say(f"figures: {path}")

    picture = options.chart or path.with_suffix(".png")
    try:
        from .chart import draw
    except ImportError as error:
        say(f"no chart: {error}")
    else:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(figures, picture)
        say(f"chart: {picture}")


if __name__ == "__main__":
    main()
