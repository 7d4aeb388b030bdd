"""POSIX: sequenced packets without an event loop."""

from __future__ import annotations

import errno
import select
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ....abc import HasFileno
from ....errors import MessageTooLarge
from ....framing import Buffer
from ...common.deadline import Deadline
from .. import packets as sockets
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING


class Packets(sockets.PacketSocket, streams.Socket):
    """Packets in both directions, for one channel, which holds the lock of the direction."""

    def _put_packets(
        self,
        packets: Sequence[Buffer],
        deadline: Deadline | None,
        descriptors: Sequence[int | HasFileno] | None = None,
    ) -> None:
        """Sends all packets, and the descriptors with each packet.

        Raises:
            OSError, TypeError, ValueError: these descriptors cannot be sent; nothing was sent.
            MessageTooLarge: a packet is larger than the system's limit; it was not sent.
            trio.BrokenResourceError, trio.ClosedResourceError, TimeoutError: as for streams.
        """
        self._require_sendable()
        send = sockets.packet_sender(descriptors)
        sent = 0
        try:
            for packet in packets:
                self._put_packet(send, packet, deadline)
                sent += 1
        except BaseException as error:
            # A single packet was sent whole or not at all. Of several, a signal handler may have
            # raised right after the first was sent.
            nothing_went = isinstance(error, MessageTooLarge) or (
                deadline is not None and deadline.has_raised
            )
            if sent or (len(packets) > 1 and not nothing_went):
                self._send_number = -1
                self._break("a send of several messages was interrupted half-way")
            raise

    def _put_packet(
        self, send: Callable[..., int], packet: Buffer, deadline: Deadline | None
    ) -> None:
        while code := send(self._send_number, packet, wait=deadline is None):
            if code == -errno.EMSGSIZE:
                raise self._too_large(packet)
            self._wait_for_room(code, deadline)

    def _wait_for_packet(self, deadline: Deadline) -> None:
        self._wait(select.POLLIN, deadline)
