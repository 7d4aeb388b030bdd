"""POSIX: descriptors between the call that opens them and what will own them."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain, starmap

from ..common.opened import OpenedNumbers

__all__ = ["Opened"]


class Opened(OpenedNumbers):
    """Descriptors. A failed call has the result ``-errno``."""

    __slots__ = ()

    _close_number: Callable[[int], object] = staticmethod(os.close)

    def open_pipe(self) -> None:
        """Calls :func:`os.pipe`, and keeps the receive end and, after it, the send end."""
        self.numbers.extend(chain.from_iterable(starmap(os.pipe, ((),))))
