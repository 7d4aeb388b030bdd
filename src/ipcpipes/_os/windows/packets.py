"""Windows: the part of a pipe of the message type that is the same in both drivers.

A read returns one message, or the first part of one that is larger than the buffer
(ERROR_MORE_DATA). Then the size of the rest is known, and the rest is read directly into the
packet.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..._ffi import ffi
from ...errors import IncompleteMessage, MessageTooLarge
from ...framing.body import Body
from . import calls, passing

assert sys.platform == "win32" or not TYPE_CHECKING

FIRST_READ = 64 * 1024


class MessagePipe(passing.HandlePassingEnd):
    """One end of a pipe of the message type."""

    largest = 2**32 - 1
    """The largest packet in bytes that can be sent (WriteFile counts in 32 bits)."""

    # A packet of which a part was read; the next receive continues it.
    _part: Body | None = None

    def _begin_part(self, code: int, memory: Any, count: int, max_size: int) -> Body:
        """Makes the packet whose first ``count`` bytes were read into ``memory``.

        Raises:
            MessageTooLarge: the packet is larger than ``max_size``.
            IncompleteMessage: its sender died, or took back the rest.
        """
        rest = 0
        if code == calls.ERROR_MORE_DATA:
            rest = calls.rest_of_message(self._require_open(), count, None)
        if count + rest > max_size:
            raise MessageTooLarge(count + rest, max_size)
        part = Body(count + rest)
        part.put(ffi.buffer(memory, count)[:], 0)
        return part

    def _check_rest(self, part: Body) -> None:
        """Raises:
        IncompleteMessage: the next read would not continue ``part``. A sender that cancels a write
            takes back the bytes that were not read yet; what follows is another message.
        """
        rest = calls.rest_of_message(self._require_open(), part.received, part.size)
        if rest != len(part.free):
            raise IncompleteMessage(part.received, part.size)
