"""POSIX: descriptors between the call that opens them and the object that will own them."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain, starmap

from ..common.opened import OpenNumbers

__all__ = ["OpenDescriptors"]


class OpenDescriptors(OpenNumbers):
    """Open descriptors. The result of a failed call is ``-errno``."""

    __slots__ = ()

    _close_number: Callable[[int], object] = staticmethod(os.close)

    def open_pipe(self) -> None:
        """Calls :func:`os.pipe`, and keeps the receive end and, after it, the send end."""
        self.numbers.extend(chain.from_iterable(starmap(os.pipe, ((),))))
