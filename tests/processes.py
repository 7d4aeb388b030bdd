"""Tells whether processes are alive, and lists children."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

SECONDS = 30  # longer than any step takes, so that only a hang reaches it

if sys.platform == "win32":
    import _winapi

    _QUERY_LIMITED_INFORMATION = 0x1000

    def is_alive(pid: int) -> bool:
        """Whether the process runs."""
        try:
            handle = _winapi.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
        except OSError:
            return False
        try:
            return _winapi.GetExitCodeProcess(handle) == _winapi.STILL_ACTIVE
        finally:
            _winapi.CloseHandle(handle)

else:

    def is_alive(pid: int) -> bool:
        """Whether the process runs; a zombie does not."""
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"


def children_of_this_process() -> set[int]:
    """Returns the pids of all children, zombies too (Linux)."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(path.parent.name))
    return found


async def until_gone(pid: int) -> None:
    with trio.fail_after(SECONDS):
        while is_alive(pid):
            await trio.sleep(0.01)
