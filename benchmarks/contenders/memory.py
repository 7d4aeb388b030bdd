"""How much memory this process has to itself."""

from __future__ import annotations

import gc
from pathlib import Path

ROLLUP = Path("/proc/self/smaps_rollup")


def private_memory() -> float:
    """Bytes that no other process shares (Linux).

    What the kernel holds for a socket is not in it: it is the same for everybody.
    """
    gc.collect()
    lines = (line.split() for line in ROLLUP.read_text(encoding="ascii").splitlines())
    return sum(1024 * int(words[1]) for words in lines if words[0].startswith("Private_"))
