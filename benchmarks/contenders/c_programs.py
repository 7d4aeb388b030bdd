"""The C programs, compiled for each run."""

from __future__ import annotations

import subprocess
from pathlib import Path

COMPILER = "gcc"


def compiled(name: str, scratch: Path) -> Path:
    """Compiles ``name``.c into ``scratch`` and returns the program."""
    binary = scratch / name
    if not binary.exists():
        flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run([COMPILER, *flags, "-o", str(binary), str(source)], check=True)
    return binary
