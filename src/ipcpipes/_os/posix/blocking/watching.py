"""POSIX: waits until one of several objects may be ready, without an event loop."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING

_PAUSE = 50  # milliseconds, as long as the longest pause of subprocess.Popen.wait


def wait_for_any(objects: Iterable[Any], milliseconds: int | None) -> None:
    """Waits until one of the objects may be ready or closed; ``None`` waits without a limit.

    It may return earlier if there is an object that the system cannot watch, such as a child on a
    system without descriptors of processes. Then the caller looks at all of them again.

    Args:
        objects: the caller has their turns. ``_watched`` of each returns descriptors that become
            readable; none if it cannot be watched.
    """
    # Not select(2), which refuses descriptors above 1023.
    poll = select.poll()
    with OpenDescriptors() as opened:
        for one in objects:
            numbers = one._watched(opened)
            for number in numbers:
                poll.register(number, select.POLLIN)
            if not numbers and (milliseconds is None or milliseconds > _PAUSE):
                milliseconds = _PAUSE
        poll.poll(milliseconds)
