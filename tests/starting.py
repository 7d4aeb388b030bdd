"""Starts children with either driver and by either way, for the tests of the start (POSIX)."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ipcpipes import blocking, open_child

assert sys.platform == "linux" or not TYPE_CHECKING

from ipcpipes._os.posix import calls, spawning

Run = Callable[..., int]

_libc = ctypes.CDLL(None, use_errno=True)


def _run_blocking(command: Sequence[Any], **options: Any) -> int:
    with blocking.open_child(command, **options) as child:
        return child.wait()


def _run_trio(command: Sequence[Any], **options: Any) -> int:
    async def main() -> int:
        async with open_child(command, **options) as child:
            return await child.wait()

    return trio.run(main)


def _run_popen(command: Sequence[Any], **options: Any) -> int:
    with subprocess.Popen(command, **options) as process:
        return process.wait()


DRIVERS: dict[str, Run] = {"blocking": _run_blocking, "trio": _run_trio}
both_drivers = pytest.mark.parametrize("run", DRIVERS.values(), ids=DRIVERS)
popen: Run = _run_popen


class Counter:
    """Counts the attempts to start a child by the quick way.

    Attributes:
        codes: what the C layer returned.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.codes: list[int] = []

        def counted(*arguments: Any) -> int:
            code: int = spawn(*arguments)
            self.codes.append(code)
            return code

        spawn = calls.spawn
        monkeypatch.setattr(calls, "spawn", counted)


def output(run: Run, command: Sequence[Any], path: Path, **options: Any) -> str:
    """Runs the command, and returns what it has written."""
    with path.open("wb") as file:
        assert run(command, stdout=file, **options) == 0
    return os.fsdecode(path.read_bytes())


def evict(path: Path) -> None:
    """Removes a file from the page cache. The kernel may keep a page that it works with at that
    moment (posix_fadvise(2)), so this looks and tries again.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())
        for _ in range(1000):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if not _cached_pages(file.fileno()):
                return
            time.sleep(0.01)
    raise AssertionError(f"the system keeps {path} in memory")


def _cached_pages(fd: int) -> int:
    """How many pages of the file are in the page cache; to ask brings none in (mincore(2))."""
    with mmap.mmap(fd, 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(mapped)
        asked = _libc.mincore(
            ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(mapped)), pages
        )
        del first  # its view of the memory would forbid to unmap it
    assert asked == 0, os.strerror(ctypes.get_errno())
    return sum(page & 1 for page in pages)


def on_disk(folder: Path) -> Path:
    """Returns a program that does nothing, and of which nothing is in the page cache. To look
    whether it is there would bring it in (Linux 6).
    """
    for name in ("probe", "program"):
        shutil.copy(shutil.which("true") or "", folder / name)
        evict(folder / name)
    with (folder / "probe").open("rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return folder / "program"
        except OSError:
            pass
    pytest.skip("the file system of the temporary folder does not tell what is in memory")


@pytest.fixture(params=["quick", "unknown", "refused"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How children start: the quick way; with an unknown version of subprocess; on a system that
    refuses what the quick way needs.
    """
    way: str = request.param
    if way == "unknown":
        monkeypatch.setattr(spawning, "_CAN_SPAWN", False)
    elif way == "refused":
        monkeypatch.setattr(calls, "spawn", lambda *_: -38)
    return way
