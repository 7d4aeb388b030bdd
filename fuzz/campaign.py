"""A fuzzing campaign: runs one target in a process of its own, from the corpus of the last one."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from .output import say
from .targets import TARGETS

# Ignored by git. Each campaign begins with the corpus of the previous one.
FOLDER = Path(".fuzz")
# Longer than the largest header section of ContentLength.
LARGEST_INPUT = 5000
_DONE = re.compile(r"^#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)


def run(target: str, seconds: int) -> bool:
    """Fuzzes one target and prints the result; returns whether it passed."""
    corpus, crashes = FOLDER / "corpus" / target, FOLDER / "crashes" / target
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for seed in TARGETS[target].seeds():
        (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    process = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.one", target),
            *(f"-max_total_time={seconds}", f"-max_len={LARGEST_INPUT}"),
            *(f"-artifact_prefix={crashes}/", str(corpus)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    done = _DONE.search(process.stdout)
    if process.returncode == 0 and done:
        executions, branches, _, inputs = map(int, done.groups())
        say(
            f"{target}: {executions:,} executions in {seconds} s, {branches} branches reached, "
            f"{inputs} inputs kept"
        )
        return True
    # Without the lines of progress before the failure.
    lines = [line for line in process.stdout.splitlines() if not line.startswith("#")]
    say(*lines[-60:], f"{target}: FAILED (exit status {process.returncode})")
    found = re.search(r"Test unit written to (\S+)", process.stdout)
    if found:
        path = Path(found[1])
        say(f"the input is {path.read_bytes()!r}", f"try it again: python -m fuzz {target} {path}")
    return False
