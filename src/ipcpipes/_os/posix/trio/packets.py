"""POSIX: a connected socket of sequenced packets (SOCK_SEQPACKET), which keeps messages apart."""

from __future__ import annotations

import errno
import os
import sys
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from ....abc import HasFileno
from ....errors import DescriptorsLost, MessageTooLarge
from ....framing import Buffer
from ...handles.attached import AttachedDescriptors
from .. import calls, passing
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = {-errno.EAGAIN, -errno.EINTR}
# How much one call takes of what has come, roughly.
_BATCH = 64 * 1024


class Packets(streams.Socket):
    """Packets in both directions. It serves one channel, which sees to it that one task sends
    and one receives at a time, and that nothing is sent after a part of a batch was cancelled.
    """

    carries_descriptors = True
    # Where the channel wants descriptors to be put that come with packets.
    enclosed: AttachedDescriptors | None = None

    @property
    def largest(self) -> int:
        """The largest packet in bytes that can be sent."""
        return calls.largest_packet(self._require_open())

    async def send_packets(
        self, packets: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        """Sends them all, the descriptors with each. ``sent_some`` tells, after it was cancelled,
        whether any went out.

        Raises:
            OSError, TypeError, ValueError: these descriptors cannot be sent; nothing went out.
            MessageTooLarge: one is above the system's limit; nothing went out.
            trio.BrokenResourceError, trio.ClosedResourceError: as for streams.
        """
        self.sent_some = False
        put = (
            calls.send_packet if descriptors is None else passing.Outgoing(descriptors).send_packet
        )
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._require_open()
            if self._eof_sent:
                raise trio.ClosedResourceError("nothing can be sent after send_eof")
            waited = False
            for packet in packets:
                while (result := put(self._require_open(), packet)) in _AGAIN:
                    waited = True
                    await trio.lowlevel.wait_writable(self._fd)
                if result == -errno.EMSGSIZE:
                    raise MessageTooLarge(len(packet), self.largest, "the socket's limit is")
                if result < 0:
                    raise trio.BrokenResourceError(calls.send_fault(-result))
                self.sent_some = True
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._sending = False

    async def receive_packets(self, into: deque[Any], max_size: int, limit: int) -> bool:
        """Adds what has come, 1 to ``limit`` packets; waits for the first. ``False`` is the end.
        Where ``enclosed`` is set, each is a pair of the packet and its descriptors.

        Raises:
            trio.BrokenResourceError: descriptors came with a packet that this process could not
                take, or more than are allowed; each time.
            MessageTooLarge: the next one is above ``max_size``; it was not received.
            trio.ClosedResourceError: as for streams.
        """
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            waited = False
            while (some := self._take(into, max_size, limit)) is None:
                waited = True
                await trio.lowlevel.wait_readable(self._fd)
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return some
        finally:
            self._receiving = False

    def _take(self, into: deque[Any], max_size: int, limit: int) -> bool | None:
        """Whether there was any, ``None`` when they are still to come."""
        fd = self._require_open()
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(self._receive_fault)
        if self.enclosed is not None:
            limit = 1  # or one call could fill the process's table of descriptors
        taken = 0
        while limit and taken < _BATCH:
            size = calls.next_packet_size(fd, False)
            if size in _AGAIN:
                return True if taken else None
            if size == calls.PACKETS_END:
                break
            if size == -errno.ECONNRESET:
                # Said once, before what is left to read: the peer closed without having read
                # all that we sent.
                continue
            if size < 0:
                raise trio.BrokenResourceError(os.strerror(-size))
            if size > max_size:
                if taken:
                    break
                raise MessageTooLarge(size, max_size)
            try:
                # Reading nothing would not take an empty packet out of the queue.
                if self.enclosed is None:
                    into.append(os.read(fd, max(size, 1)))
                else:
                    incoming = passing.Incoming(max(size, 1), self.enclosed.most)
                    into.append(passing.receive_enclosed(fd, incoming, self.enclosed))
            except ConnectionResetError:
                continue
            except DescriptorsLost as error:
                self._receive_fault = str(error)
                raise
            except OSError as error:
                raise self._broken(error) from error
            limit -= 1
            taken += size + 1
        return bool(taken)

    async def send_eof(self) -> None:
        """Ends what this end sends."""
        await trio.lowlevel.checkpoint()
        calls.close_half(self._require_open(), True)
        self._eof_sent = True
