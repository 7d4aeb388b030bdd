"""Windows: connected pipes of the message type, without an event loop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...._ffi import ffi
from ....errors import IncompleteMessage
from ....framing import Buffer
from ...common.deadline import Deadline
from ...common.receive_size import RECEIVE_INTERRUPTED
from ...handles.headers import PacketSink
from .. import calls, packets
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class Packets(packets.MessagePipe, streams.Pipe):
    """Packets in both directions. The only user is a channel, which holds the lock of the direction
    while it calls.
    """

    def _note_empty_read(self, code: int) -> None:
        if code == 0:  # it has taken an empty message; any other message stays (ERROR_MORE_DATA)
            self._unread = calls.new_buffer("char[]", 1), 0, 0

    def _require_whole(self) -> None:
        super()._require_whole()
        if self._part is not None:
            raise RuntimeError(
                "a part of a message has arrived in this channel; receive the message before you "
                "detach the channel"
            )

    def _put_packets(self, packets: Sequence[Buffer], deadline: Deadline | None) -> None:
        """Sends all packets.

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
            # A signal handler may have raised right after the first packet was sent.
            if sent or len(packets) > 1:
                self._break("a send of several messages was interrupted half-way")
            raise

    def _get_packets(
        self, into: PacketSink, max_size: int, limit: int, deadline: Deadline | None
    ) -> bool:
        """Waits for a packet, and appends the received packets to ``into``: 1 to ``limit``.
        Returns ``False`` at the end.

        If this raises, the packets that were received before are in ``into``.

        Raises:
            FramingError: the next packet is larger than ``max_size``, or its sender cancelled it.
            trio.BrokenResourceError, trio.ClosedResourceError, TimeoutError: as for streams.
        """
        taken = 0
        while True:
            packet = self._get_packet(max_size, deadline)
            if packet is None:
                return bool(taken)
            # The fault is set first and cleared last, so that the packet is not delivered twice
            # after a signal handler's exception.
            self._receive_fault = RECEIVE_INTERRUPTED
            into.append(packet)
            self._unread = self._part = None
            self._receive_fault = None
            limit -= 1
            taken += len(packet) + 1
            code, size = calls.next_message_size(self._require_open())
            if code != 0 or not 0 < size <= max_size or not limit or taken > packets.FIRST_READ:
                return True

    def _get_packet(self, max_size: int, deadline: Deadline | None) -> bytes | None:
        """Returns the next packet, which stays in ``_part`` or ``_unread`` until the caller has
        it.
        """
        if self._part is None:
            memory, code, count = self._read(
                calls.new_buffer("char[]", packets.FIRST_READ), packets.FIRST_READ, deadline
            )
            if code == 0 and count <= max_size:
                return bytes(ffi.buffer(memory, count))
            if code not in (0, calls.ERROR_MORE_DATA):
                self._unread = None
                self._require_good_end(code)
                return None
            self._part = self._begin_part(code, memory, count, max_size)
            self._unread = None
        part = self._part
        while part.free:
            if self._unread is None:
                self._check_rest(part)
            # This reads directly into the packet. A cancelled read has taken nothing.
            memory = ffi.from_buffer(part.free)
            _, code, count = self._read(memory, min(len(memory), calls.LARGEST_READ), deadline)
            if code not in (0, calls.ERROR_MORE_DATA):
                self._unread = None
                self._require_good_end(code)
                raise IncompleteMessage(part.received, part.size)
            # A signal handler cannot run between these two steps, because neither is a call.
            part.free = part.free[count:]
            self._unread = None
        return part.message()
