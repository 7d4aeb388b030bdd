"""Windows: a connected pipe of the message type, without an event loop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...._ffi import ffi
from ....errors import IncompleteMessage, MessageTooLarge
from ....framing import Buffer
from ....framing.body import Body
from ...common.deadline import Deadline
from ...common.receive_size import RECEIVE_INTERRUPTED
from ...handles.labels import Into
from .. import calls, passing
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING

_FIRST_READ = 64 * 1024


class Packets(streams.Pipe):
    """Packets in both directions, for one channel, which is inside while it calls."""

    largest = 2**32 - 1
    """The largest packet in bytes that can be sent (WriteFile counts in 32 bits)."""

    # A packet of which the system has given a part; the next call goes on with it.
    _part: Body | None = None

    def handles(self) -> passing.Handles:
        """How handles go to the process at the other end, and come from it."""
        return passing.Handles(self)

    def _put_packets(self, packets: Sequence[Buffer], deadline: Deadline | None) -> None:
        """Sends them all.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError, TimeoutError: as for streams.
        """
        self._require_sendable()
        sent = 0
        try:
            for packet in packets:
                with ffi.from_buffer(packet) as memory:
                    self._write(memory, len(memory), deadline)
                sent += 1
        except BaseException:
            # A signal handler may have raised right after the first one.
            if sent or len(packets) > 1:
                self._break("a send of several messages was interrupted half-way")
            raise

    def _get_packets(
        self, into: Into, max_size: int, limit: int, deadline: Deadline | None
    ) -> bool:
        """Adds what has come, 1 to ``limit`` packets; waits for the first. ``False`` is the end.

        When the deadline passes, it has added what it had received.

        Raises:
            FramingError: the next one is above ``max_size``, or its sender gave it up half-way.
            trio.BrokenResourceError, trio.ClosedResourceError, TimeoutError: as for streams.
        """
        taken = 0
        while True:
            packet = self._get_packet(max_size, deadline)
            if packet is None:
                return bool(taken)
            # First, and cleared last: what a signal handler raises must not have it taken twice.
            self._receive_fault = RECEIVE_INTERRUPTED
            into.append(packet)
            self._unread = self._part = None
            self._receive_fault = None
            limit -= 1
            taken += len(packet) + 1
            code, size = calls.next_message_size(self._require_open())
            if code != 0 or not 0 < size <= max_size or not limit or taken > _FIRST_READ:
                return True

    def _get_packet(self, max_size: int, deadline: Deadline | None) -> bytes | None:
        """The next packet, which stays ``_part`` or ``_unread`` until the caller has it."""
        if self._part is None:
            memory, code, count = self._read(
                calls.new_buffer("char[]", _FIRST_READ), _FIRST_READ, deadline
            )
            if code == 0 and count <= max_size:
                return bytes(ffi.buffer(memory, count))
            if code not in (0, calls.ERROR_MORE_DATA):
                self._unread = None
                self._require_good_end(code)
                return None
            rest = 0
            if code == calls.ERROR_MORE_DATA:
                rest = calls.rest_of_message(self._require_open(), count, None)
            if count + rest > max_size:
                raise MessageTooLarge(count + rest, max_size)
            part = Body(count + rest)
            part.put(ffi.buffer(memory, count)[:], 0)
            self._part = part
            self._unread = None
        part = self._part
        while part.free:
            # A sender that gives its message up takes back what was not read yet; what comes
            # then is another message.
            if self._unread is None:
                rest = calls.rest_of_message(self._require_open(), part.received, part.size)
                if rest != len(part.free):
                    raise IncompleteMessage(part.received, part.size)
            # Straight into the packet; a read that was given up has taken nothing.
            memory = ffi.from_buffer(part.free)
            _, code, count = self._read(memory, min(len(memory), 1 << 30), deadline)
            if code not in (0, calls.ERROR_MORE_DATA):
                self._unread = None
                self._require_good_end(code)
                raise IncompleteMessage(part.received, part.size)
            # Two steps that no signal handler gets between, as there is no call.
            part.free = part.free[count:]
            self._unread = None
        return part.message()
