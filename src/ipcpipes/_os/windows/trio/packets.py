"""Windows: connected pipes of the message type as trio channels use them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from ...._ffi import ffi
from ....errors import IncompleteMessage
from ....framing import Buffer
from ...handles.headers import PacketSink
from .. import calls, packets
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class Packets(packets.MessagePipe, streams.Pipe):
    """Packets in both directions. The only user is a channel, which lets one task send and one
    receive at a time, and sends nothing more once a part of a batch was cancelled.
    """

    _sends_now = False  # whether send_packets_now can send anything

    def send_packets_now(self, packets: Sequence[Buffer]) -> list[Buffer]:
        """Sends nothing and returns all packets, as ``_send_now`` of a stream sends nothing."""
        return list(packets)

    async def send_packets(self, packets: Sequence[Buffer]) -> None:
        """Sends all packets. After a cancellation, ``sent_some`` tells whether the system has begun
        to write one; the system does not tell how much of it the peer has read.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as for streams.
        """
        self.sent_some = False
        await trio.lowlevel.checkpoint_if_cancelled()
        handle = self._require_open()
        if not packets:
            await trio.lowlevel.cancel_shielded_checkpoint()
        for packet in packets:
            view = memoryview(packet)
            with ffi.from_buffer(view) as buffer:
                operation = calls.new_operation()
                code = calls.begin_write(handle, operation, buffer, len(buffer))
                if code == 0:
                    self.sent_some = True
                    code = await self.finish(operation, view)
                else:
                    await trio.lowlevel.cancel_shielded_checkpoint()
            if code != 0:
                self._require_open()
                raise trio.BrokenResourceError(calls.send_fault(code))
            handle = self._require_open()

    async def receive_packets(self, into: PacketSink, max_size: int, limit: int) -> bool:
        """Waits for a packet, and appends the received packets to ``into``: 1 to ``limit``.
        Returns ``False`` at the end.

        If this raises, the packets that were received before are in ``into``.

        Raises:
            FramingError: the next packet is larger than ``max_size``, or its sender cancelled it.
            trio.BrokenResourceError, trio.ClosedResourceError: as for streams.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        taken = 0
        while True:
            packet = await self._receive_packet(max_size)
            if packet is None:
                return bool(taken)
            into.append(packet)
            limit -= 1
            taken += len(packet) + 1
            code, size = calls.next_message_size(self._require_open())
            if code != 0 or not 0 < size <= max_size or not limit or taken > packets.FIRST_READ:
                return True

    def receive_packets_now(self, into: PacketSink, max_size: int) -> bool | None:
        """Does the same as :meth:`receive_packets`, for one packet, without waiting and without a
        checkpoint. Returns ``None`` if no whole packet has arrived.
        """
        if self._part is None:
            memory = calls.new_buffer("char[]", packets.FIRST_READ)
            found = self._read_now(memory, packets.FIRST_READ)
            if found is None:
                return None
            code, count = found
            if code == 0 and count <= max_size:
                into.append(bytes(ffi.buffer(memory, count)))
                return True
            if code not in (0, calls.ERROR_MORE_DATA):
                self._require_good_end(code)
                return False
            self._part = self._begin_part(code, memory, count, max_size)
        part = self._part
        while part.free:
            self._check_rest(part)
            memory = ffi.from_buffer(part.free)
            found = self._read_now(memory, min(len(memory), calls.LARGEST_READ))
            if found is None:
                return None
            code, count = found
            if code not in (0, calls.ERROR_MORE_DATA):
                self._require_good_end(code)
                raise IncompleteMessage(part.received, part.size)
            part.updated(count)
        self._part = None
        into.append(part.message())
        return True

    async def _receive_packet(self, max_size: int) -> bytes | None:
        if self._part is None:
            memory = calls.new_buffer("char[]", packets.FIRST_READ)
            code, count = await self._read(memory, packets.FIRST_READ, memory)
            if code == 0 and count <= max_size:
                return bytes(ffi.buffer(memory, count))
            if code not in (0, calls.ERROR_MORE_DATA):
                self._require_good_end(code)
                return None
            self._part = self._begin_part(code, memory, count, max_size)
        part = self._part
        while part.free:
            self._check_rest(part)
            # This reads directly into the packet. A cancelled read has taken nothing.
            memory = ffi.from_buffer(part.free)
            code, count = await self._read(memory, min(len(memory), calls.LARGEST_READ), part.free)
            if code not in (0, calls.ERROR_MORE_DATA):
                self._require_good_end(code)
                raise IncompleteMessage(part.received, part.size)
            part.updated(count)
        self._part = None
        return part.message()
