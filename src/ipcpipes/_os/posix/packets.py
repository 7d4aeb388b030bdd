"""POSIX: the part of a connected socket of sequenced packets (SOCK_SEQPACKET) that is the same in
both drivers. Such a socket keeps messages apart.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from ...abc import HasFileno
from ...errors import DescriptorsLost, MessageTooLarge
from ...framing import Buffer
from ..common.deadline import Deadline
from ..common.receive_size import RECEIVE_INTERRUPTED
from ..handles.attached import AttachedDescriptors
from . import calls, passing, socket_end

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
# EINTR: a signal came. ECONNRESET: the peer closed before it had read all that this end sent. The
# system reports that once, at any time, before the packets that are left to read.
_ASK_AGAIN = (-errno.EINTR, -errno.ECONNRESET)
# About how many bytes one call takes out of the queue.
_BATCH = 64 * 1024


class PacketSocket(socket_end.SocketEnd):
    """One end of a connection that keeps messages apart.

    Attributes:
        _enclosed: the channel's store for descriptors that come with packets.
    """

    carries_descriptors = True
    _enclosed: AttachedDescriptors | None = None

    @property
    def largest(self) -> int:
        """The largest packet in bytes that can be sent."""
        return calls.largest_packet(self._require_open())

    def _too_large(self, packet: Buffer) -> MessageTooLarge:
        return MessageTooLarge(len(packet), self.largest, "the socket's limit is")

    def _get_packets(
        self,
        into: deque[Any],
        max_size: int,
        limit: int,
        deadline: Deadline | None = None,
        *,
        wait: bool = True,
    ) -> bool | None:
        """Moves 1 to ``limit`` packets from the socket's queue into ``into``. With ``_enclosed``,
        each item is a pair of a packet and its descriptors.

        Args:
            deadline: until when a blocking socket waits for the first packet.
            wait: whether the descriptor is in blocking mode.

        Returns:
            ``True``; ``None`` if the queue is empty; or ``False`` at the end of the stream.

        Raises:
            trio.BrokenResourceError: descriptors came with a packet that this process could not
                take, or more than are allowed. Every later call raises it again.
            MessageTooLarge: the next packet is larger than ``max_size``; it stays in the queue.
            trio.ClosedResourceError, TimeoutError: as for streams.
        """
        if deadline is not None:
            self._wait_for_packet(deadline)
        # The number remains ours as long as a thread is inside, also if the socket is closed.
        fd = self._require_open()
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(self._receive_fault)
        attached = self._enclosed
        if attached is not None:
            limit = 1  # otherwise one call could fill the process's table of descriptors
        taken = 0
        while limit and taken < _BATCH:
            size = calls.next_packet_size(fd, wait and not taken)
            if size == _AGAIN:
                return True if taken else None
            if size == calls.PACKETS_END:
                break
            if size in _ASK_AGAIN:
                continue
            if size < 0:
                raise trio.BrokenResourceError(os.strerror(-size))
            if size > max_size:
                if taken:
                    break
                raise MessageTooLarge(size, max_size)
            # A read of 0 bytes would not take an empty packet out of the queue.
            size = max(size, 1)
            try:
                if attached is None:
                    # One step, so that a signal handler's exception cannot lose the packet.
                    into.extend(map(os.read, (fd,), (size,)))
                else:
                    self._take_with_descriptors(fd, size, attached, into)
            except DescriptorsLost:  # an OSError too
                raise
            except OSError as error:
                self._check_end(error)
                continue
            limit -= 1
            taken += size + 1
        if not taken:
            self._require_open()
        return bool(taken)

    def _wait_for_packet(self, deadline: Deadline) -> None:
        """Waits until a packet can be received. Only blocking sockets get a deadline, and wait."""
        raise NotImplementedError

    def _take_with_descriptors(
        self, fd: int, size: int, attached: AttachedDescriptors, into: deque[Any]
    ) -> None:
        incoming = passing.IncomingDescriptors(size, attached.most)
        # The fault is set first and cleared last, because the descriptors are closed if a signal
        # handler raises.
        self._receive_fault = RECEIVE_INTERRUPTED
        try:
            into.append(passing.receive_attached(fd, incoming, attached))
        except DescriptorsLost as error:
            self._receive_fault = str(error)
            raise
        except BaseException:
            if not incoming.has_come:
                self._receive_fault = None
            raise
        self._receive_fault = None


def packet_sender(descriptors: Sequence[int | HasFileno] | None) -> Callable[..., int]:
    """Returns a function that sends one packet with these descriptors; see
    :func:`calls.send_packet`.
    """
    return (
        calls.send_packet
        if descriptors is None
        else passing.OutgoingDescriptors(descriptors).send_packet
    )
