"""The C baseline, compiled for each run: what the machine can do with blocking calls."""

from __future__ import annotations

import subprocess
from pathlib import Path

COMPILER = "gcc"
SOURCE = Path(__file__).with_suffix(".c")


def compiled(scratch: Path) -> Path:
    binary = scratch / "c_blocking"
    if not binary.exists():
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([COMPILER, *flags, "-o", str(binary), str(SOURCE)], check=True)
    return binary
