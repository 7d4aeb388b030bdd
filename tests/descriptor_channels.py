"""Channels that pass descriptors, and files to pass, for the tests (POSIX)."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from ipcpipes import NATIVE, LengthPrefixed

from .channels import FRAMINGS, has_native
from .descriptors import close_all, connected

KINDS = [
    *(pytest.param(framing, id=name) for name, framing in FRAMINGS.items()),
    pytest.param(NATIVE, id="native", marks=has_native),
]
TWO_KINDS = [KINDS[0], KINDS[-1]]


async def channels(doors: Any, framing: Any = None, most: int = 8) -> tuple[Any, Any]:
    framing = LengthPrefixed() if framing is None else framing
    return await connected(doors, "_messages", framing=framing, max_descriptors=most)


@contextmanager
def numbered_files(count: int) -> Iterator[list[int]]:
    """Files with different contents."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        for number, file in enumerate(files):
            os.write(file.fileno(), b"%d" % number)
        yield [file.fileno() for file in files]


def which(numbers: list[int]) -> list[int]:
    """Returns which files these descriptors belong to, and closes them."""
    if sys.platform == "win32":
        raise NotImplementedError("there are no descriptors to send")
    found = [int(os.pread(number, 10, 0)) for number in numbers]
    close_all(numbers)
    return found
