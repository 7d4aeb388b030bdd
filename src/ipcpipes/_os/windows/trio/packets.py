"""Windows: a connected pipe of the message type, which keeps messages apart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from ...._ffi import ffi
from ....errors import IncompleteMessage, MessageTooLarge
from ....framing import Buffer
from ....framing.body import Body
from ...handles.labels import Into
from .. import calls, passing
from . import stream as streams

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

    def handles(self) -> passing.Handles:
        """How handles go to the process at the other end, and come from it."""
        return passing.Handles(self)

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
                gone = "the other end has closed or died"
                raise trio.BrokenResourceError(
                    gone if code in calls.PEER_GONE else str(calls.winerror(code))
                )
            handle = self._require_open()

    async def receive_packets(self, into: Into, max_size: int, limit: int) -> bool:
        """Adds what has come, 1 to ``limit`` packets; waits for the first. ``False`` is the end.

        Cancelled, it has added what it had received.

        Raises:
            FramingError: the next one is above ``max_size``, or its sender gave it up half-way.
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
            if code != 0 or not 0 < size <= max_size or not limit or taken > _FIRST_READ:
                return True

    async def _receive_packet(self, max_size: int) -> bytes | None:
        if self._part is None:
            memory = calls.new_buffer("char[]", _FIRST_READ)
            code, count = await self._read(memory, _FIRST_READ, memory)
            if code == 0 and count <= max_size:
                return bytes(ffi.buffer(memory, count))
            if code not in (0, calls.ERROR_MORE_DATA):
                self._require_good_end(code)
                return None
            rest = 0
            if code == calls.ERROR_MORE_DATA:
                rest = calls.rest_of_message(self._require_open(), count, None)
            if count + rest > max_size:
                raise MessageTooLarge(count + rest, max_size)
            self._part = Body(count + rest)
            self._part.put(ffi.buffer(memory, count)[:], 0)
        part = self._part
        while part.free:
            # A sender that gives its message up takes back what was not read yet; what comes
            # then is another message.
            rest = calls.rest_of_message(self._require_open(), part.received, part.size)
            if rest != len(part.free):
                raise IncompleteMessage(part.received, part.size)
            # Straight into the packet; a cancelled read has taken nothing.
            memory = ffi.from_buffer(part.free)
            code, count = await self._read(memory, min(len(memory), 1 << 30), part.free)
            if code not in (0, calls.ERROR_MORE_DATA):
                self._require_good_end(code)
                raise IncompleteMessage(part.received, part.size)
            part.updated(count)
        self._part = None
        return part.message()

    async def _read(self, memory: object, size: int, owner: object) -> tuple[int, int]:
        """(error code, bytes)"""
        operation = calls.new_operation()
        code = calls.begin_read(self._require_open(), operation, memory, size)
        if code == 0:
            code = await self.finish(operation, owner)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return code, int(calls.transferred(operation))

    def _require_good_end(self, code: int) -> None:
        self._require_open()
        if code not in calls.PEER_GONE:
            raise trio.BrokenResourceError(str(calls.winerror(code)))
