"""Windows: a connected pipe of the message type, which keeps messages apart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from .._ffi import ffi
from ..errors import MessageTooLarge
from ..framing import Buffer
from ..framing.body import Body
from . import windows_calls as calls, windows_trio as streams

assert sys.platform == "win32" or not TYPE_CHECKING

_FIRST_READ = 64 * 1024


class Packets(streams.Pipe):
    """Packets in both directions. It serves one channel, which sees to it that one task sends
    and one receives at a time, and that nothing is sent after a part of a batch was cancelled.
    """

    largest = 2**32 - 1
    """The largest packet in bytes that can be sent (WriteFile counts in 32 bits)."""

    # A packet of which the system has given a part; the next call goes on with it.
    _part: Body | None = None

    async def send_packets(self, packets: Sequence[Buffer]) -> None:
        """Sends them all. ``sent_some`` tells, after it was cancelled, whether the system has
        begun to write one: it does not tell how much of that the peer has read.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as for streams.
        """
        self.sent_some = False
        await trio.lowlevel.checkpoint_if_cancelled()
        handle = self._require_open()
        if not packets:
            await trio.lowlevel.cancel_shielded_checkpoint()
        for packet in packets:
            with ffi.from_buffer(packet) as buffer:
                operation = calls.new_operation()
                code = calls.begin_write(handle, operation, buffer, len(buffer))
                if code == 0:
                    self.sent_some = True
                    code = await self.finish(operation, buffer)
                else:
                    await trio.lowlevel.cancel_shielded_checkpoint()
            if code != 0:
                self._require_open()
                gone = "the other end has closed or died"
                raise trio.BrokenResourceError(
                    gone if code in calls.PEER_GONE else str(calls.winerror(code))
                )
            handle = self._require_open()

    async def receive_packets(self, max_size: int, limit: int) -> list[bytes]:
        """What has come, 1 to ``limit`` packets; waits for the first. ``[]`` is the end.

        Raises:
            MessageTooLarge: the first one is above ``max_size``.
            trio.BrokenResourceError, trio.ClosedResourceError: as for streams.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        packet = await self._receive_packet(max_size)
        if packet is None:
            return []
        packets = [packet]
        taken = len(packet)
        while len(packets) < limit and taken < _FIRST_READ:
            code, size = calls.next_message_size(self._require_open())
            if code != 0 or not 0 < size <= max_size:
                break
            # It is there, so that nothing can be waited for; and a cancellation now would lose
            # the ones before it.
            with trio.CancelScope(shield=True):
                packet = await self._receive_packet(max_size)
            if packet is None:
                break
            packets.append(packet)
            taken += size
        return packets

    async def _receive_packet(self, max_size: int) -> bytes | None:
        if self._part is None:
            memory = calls.new_buffer("char[]", _FIRST_READ)
            code, count = await self._read(memory, _FIRST_READ)
            if code == 0:
                if count > max_size:
                    raise MessageTooLarge(count, max_size)
                return bytes(ffi.buffer(memory, count))
            if code != calls.ERROR_MORE_DATA:
                self._require_good_end(code)
                return None
            code, rest = calls.next_message_size(self._require_open())
            if code != 0:
                self._require_good_end(code)
                return None
            if count + rest > max_size:
                raise MessageTooLarge(count + rest, max_size)
            self._part = Body(count + rest)
            self._part.put(ffi.buffer(memory, count)[:], 0)
        while self._part.free:
            # Straight into the packet; a cancelled read has taken nothing.
            memory = ffi.from_buffer(self._part.free)
            code, count = await self._read(memory, min(len(memory), 1 << 30))
            if code not in (0, calls.ERROR_MORE_DATA):
                self._require_good_end(code)
                return None
            self._part.updated(count)
        packet = self._part.taken()
        self._part = None
        return packet

    async def _read(self, memory: object, size: int) -> tuple[int, int]:
        """(error code, bytes)"""
        operation = calls.new_operation()
        code = calls.begin_read(self._require_open(), operation, memory, size)
        if code == 0:
            code = await self.finish(operation, memory)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return code, int(calls.transferred(operation))

    def _require_good_end(self, code: int) -> None:
        self._require_open()
        if code not in calls.PEER_GONE:
            raise trio.BrokenResourceError(str(calls.winerror(code)))
