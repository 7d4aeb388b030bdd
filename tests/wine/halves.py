"""Run the test suite on the Windows CPython under Wine in two halves, each on a CPU of its own.

    python -m tests.wine.halves

Every Windows call is a round trip to a wineserver, and one wineserver uses one CPU. Two beds have
two wineservers, so two halves side by side take little more than half the time. pytest-xdist cannot
do that: its workers would share one wineserver. The second bed is a copy of the first.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import IO, TYPE_CHECKING

assert sys.platform == "linux", "the test bed needs Linux; on Windows itself, run pytest"

from .testbed import CLOSING_LINE, HERE, REPOSITORY, remove, say

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BEDS = (REPOSITORY / ".wine-testbed", REPOSITORY / ".wine-testbed-2")


def bed_command(bed: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(HERE / "testbed.py"), "--folder", str(bed), *arguments]


def make_beds() -> None:
    first, second = BEDS
    subprocess.run(bed_command(first, "--run", "--", "-c", ""), check=True)
    remove(second)
    shutil.copytree(first, second, symlinks=True)


def start_half(cpu: int, files: list[str], output: int | IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        bed_command(BEDS[cpu], "--cpu", str(cpu), "--", *files),
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def show(lines: Iterable[str]) -> str:
    """Write the output of a half as it comes; return its last closing line of pytest, or ""."""
    closing = ""
    for line in lines:
        print(line, end="", flush=True)  # noqa: T201
        closing = next(iter(CLOSING_LINE.findall(line)), closing)
    return closing


def main() -> int:
    started = time.monotonic()
    make_beds()
    # Every second file, because files with neighbouring names often take equally long.
    files = sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("tests/test_*.py"))
    with tempfile.TemporaryFile("w+", errors="replace") as kept:
        first = start_half(0, files[0::2], subprocess.PIPE)
        second = start_half(1, files[1::2], kept)
        assert first.stdout is not None
        closing = [show(first.stdout)]
        statuses = [first.wait(), second.wait()]
        say("the second half")
        kept.seek(0)
        closing.append(show(kept))
    counts: Counter[str] = Counter()
    for line in closing:
        counts.update({word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", line)})
    if not all(closing):
        return 1  # testbed.py has said that a half did not come to its closing line
    total = ", ".join(f"{number} {word}" for word, number in counts.items())
    print(f"==== {total} in {time.monotonic() - started:.2f}s ====")  # noqa: T201
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
