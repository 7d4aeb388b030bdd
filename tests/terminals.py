"""Pseudo-terminals, for output that a program writes only to a terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator

import pytest

from .echo_runs import LIMIT

posix_terminal = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no pseudo-terminals (pty) in the standard library"
)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """Opens a pseudo-terminal: (the end that reads the output, the end for the process)."""
    if sys.platform == "win32":
        raise NotImplementedError
    else:
        master, slave = os.openpty()
        try:
            yield master, slave
        finally:
            os.close(master)
            os.close(slave)


def shown(master: int, until: bytes = b"") -> bytes:
    """Returns the output: up to ``until``, or what is there already."""
    seen = b""
    while True:
        readable, _, _ = select.select([master], [], [], LIMIT if until else 0)
        if not readable:
            assert not until, seen
            return seen
        seen += os.read(master, 4096)
        if until and until in seen:
            return seen
