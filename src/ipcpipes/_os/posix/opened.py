"""POSIX: descriptors between the call that opens them and the object that will own them."""

from __future__ import annotations

import os
from collections.abc import Callable

from ..common.opened import OpenNumbers

__all__ = ["OpenDescriptors", "Opened"]


class OpenDescriptors(OpenNumbers):
    """Open descriptors. The result of a failed call is ``-errno``."""

    __slots__ = ()

    _close_number: Callable[[int], object] = staticmethod(os.close)


Opened = OpenDescriptors
