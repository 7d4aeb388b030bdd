"""Tools for the tests that pass handles: open handles that tell where they are open (Windows)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ipcpipes import NATIVE, LengthPrefixed, Lines

if sys.platform != "win32":
    pytest.skip("elsewhere the system passes them", allow_module_level=True)

import ctypes
import msvcrt

from .descriptors import connected

KINDS = [
    pytest.param(LengthPrefixed(), id="length"),
    pytest.param(Lines(), id="lines"),
    pytest.param(NATIVE, id="native"),
]
_kernel: Any = ctypes.windll.kernel32


async def channels(doors: Any, framing: Any, most: int = 8) -> tuple[Any, Any]:
    return await connected(doors, "_messages", framing=framing, max_descriptors=most)


class Handles:
    """Handles of one pipe; the other end tells whether any is open in any process."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self._reading = reading
        self._writing = writing
        self.handle = msvcrt.get_osfhandle(writing)

    def close_here(self) -> None:
        if self._writing != -1:
            os.close(self._writing)
            self._writing = -1

    @property
    def is_open_anywhere(self) -> bool:
        assert self._writing == -1
        left = ctypes.c_ulong()
        return bool(
            _kernel.PeekNamedPipe(
                ctypes.c_void_p(msvcrt.get_osfhandle(self._reading)),
                None,
                0,
                None,
                ctypes.byref(left),
                None,
            )
        )

    def comes_through(self, handle: int) -> bool:
        number = msvcrt.open_osfhandle(handle, 0)
        os.write(number, b"?")
        os.close(number)
        return os.read(self._reading, 10) == b"?"

    def close(self) -> None:
        self.close_here()
        os.close(self._reading)


@contextmanager
def watched() -> Iterator[Handles]:
    handles = Handles()
    try:
        yield handles
    finally:
        handles.close()
