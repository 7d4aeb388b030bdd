"""POSIX: sequenced packets under trio."""

from __future__ import annotations

import errno
import sys
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from ....abc import HasFileno
from ....framing import Buffer
from .. import calls, packets as sockets
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = {-errno.EAGAIN, -errno.EINTR}


class Packets(sockets.PacketSocket, streams.Socket):
    """Packets in both directions. It serves one channel. The channel takes care that one task sends
    and one receives at a time, and that nothing is sent after a part of a batch was cancelled.
    """

    _sends_now = True  # Windows cannot send without waiting

    def send_packets_now(self, packets: Sequence[Buffer]) -> list[Buffer]:
        """Sends what the system accepts without waiting. Returns the other packets. This is not a
        checkpoint.

        Raises:
            MessageTooLarge: the first packet is larger than the system's limit; it was not sent.
            trio.BrokenResourceError, trio.ClosedResourceError: as for streams.
        """
        self._require_sendable()
        for index, packet in enumerate(packets):
            result = calls.send_packet(self._number, packet)
            if result in _AGAIN:
                return list(packets[index:])
            self._check_sent(result, packet)
        return []

    def _check_sent(self, result: int, packet: Buffer) -> None:
        if result == -errno.EMSGSIZE:
            raise self._too_large(packet)
        if result < 0:
            raise trio.BrokenResourceError(calls.send_fault(-result))

    async def send_packets(
        self, packets: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        """Sends all packets, and the descriptors with each packet. After a cancelled call,
        ``sent_some`` tells whether any packet was sent.

        Raises:
            OSError, TypeError, ValueError: these descriptors cannot be sent; nothing was sent.
            MessageTooLarge: a packet is larger than the system's limit; it was not sent.
            trio.BrokenResourceError, trio.ClosedResourceError: as for streams.
        """
        self.sent_some = False
        send = sockets.packet_sender(descriptors)
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._require_sendable()
            waited = False
            for packet in packets:
                while (result := send(self._require_open(), packet)) in _AGAIN:
                    waited = True
                    await trio.lowlevel.wait_writable(self._number)
                self._check_sent(result, packet)
                self.sent_some = True
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._sending = False

    async def receive_packets(self, into: deque[Any], max_size: int, limit: int) -> bool:
        """Waits for a packet, and appends 1 to ``limit`` packets to ``into``; see ``_get_packets``.
        Returns ``False`` at the end.
        """
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            waited = False
            while (some := self._get_packets(into, max_size, limit, wait=False)) is None:
                waited = True
                await trio.lowlevel.wait_readable(self._number)
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return some
        finally:
            self._receiving = False

    def receive_packets_now(self, into: deque[Any], max_size: int) -> bool | None:
        """Appends packets to ``into`` without waiting; see ``_get_packets``. This is not a
        checkpoint.
        """
        return self._get_packets(into, max_size, 1, wait=False)

    async def send_eof(self) -> None:
        """Ends the sending direction."""
        await trio.lowlevel.checkpoint()
        calls.close_half(self._require_open(), True)
        self._eof_sent = True
