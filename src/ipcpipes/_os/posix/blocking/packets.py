"""POSIX: a connected socket of sequenced packets (SOCK_SEQPACKET) without an event loop."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from ....abc import HasFileno
from ....errors import DescriptorsLost, MessageTooLarge
from ....framing import Buffer
from ...common.deadline import Deadline
from ...common.receive_size import RECEIVE_INTERRUPTED
from ...handles.attached import AttachedDescriptors
from .. import calls, passing
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
_INTERRUPTED = -errno.EINTR
# The peer closed without having read all that we sent. It is said once, at any time, before what
# is left to read.
_RESET = -errno.ECONNRESET
# How much one call takes of what has come, roughly.
_BATCH = 64 * 1024


class Packets(streams.Socket):
    """Packets in both directions, for one channel, which is inside while it calls."""

    carries_descriptors = True

    @property
    def largest(self) -> int:
        """The largest packet in bytes that can be sent."""
        return calls.largest_packet(self._require_open())

    def _put_packets(
        self,
        packets: Sequence[Buffer],
        deadline: Deadline | None,
        descriptors: Sequence[int | HasFileno] | None = None,
    ) -> None:
        """Sends them all, the descriptors with each.

        Raises:
            OSError, TypeError, ValueError: these descriptors cannot be sent; nothing went out.
            MessageTooLarge: one is above the system's limit; it did not go out.
            trio.BrokenResourceError, trio.ClosedResourceError, TimeoutError: as for streams.
        """
        self._require_sendable()
        put = (
            calls.send_packet if descriptors is None else passing.Outgoing(descriptors).send_packet
        )
        sent = 0
        try:
            for packet in packets:
                self._put_packet(put, packet, deadline)
                sent += 1
        except BaseException as error:
            # One alone went out whole or not at all. Of several, what a signal handler raised may
            # have come right after the first.
            nothing_went = isinstance(error, MessageTooLarge) or (
                deadline is not None and deadline.has_raised
            )
            if sent or (len(packets) > 1 and not nothing_went):
                self._send_number = -1
                self._break("a send of several messages was interrupted half-way")
            raise

    def _put_packet(
        self, put: Callable[..., int], packet: Buffer, deadline: Deadline | None
    ) -> None:
        first = True
        while code := put(self._send_number, packet, wait=deadline is None):
            if code == _AGAIN and deadline is not None:
                self._wait(select.POLLOUT, deadline, "not all could be sent", first=first)
                first = False
            elif code == -errno.EMSGSIZE:
                raise MessageTooLarge(len(packet), self.largest, "the socket's limit is")
            elif code != _INTERRUPTED:
                self._raise_unsendable(-code)

    def _get_packets(
        self, into: deque[Any], max_size: int, limit: int, deadline: Deadline | None
    ) -> bool:
        """Adds what has come, 1 to ``limit`` packets; waits for the first. ``False`` is the end.
        Where ``_enclosed`` is set, each is a pair of the packet and its descriptors.

        Raises:
            trio.BrokenResourceError: descriptors came with a packet that this process could not
                take, or more than are allowed; each time.
            MessageTooLarge: the next one is above ``max_size``; it was not received.
            trio.ClosedResourceError, TimeoutError: as for streams.
        """
        if deadline is not None:
            self._wait(select.POLLIN, deadline, "nothing was received", first=True)
        # It stays ours as long as we are inside, also when it is closed meanwhile.
        number = self._require_open()
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(self._receive_fault)
        if self._enclosed is not None:
            limit = 1  # or one call could fill the process's table of descriptors
        taken = 0
        while limit and taken < _BATCH:
            size = calls.next_packet_size(number, not taken)
            if size == _AGAIN:
                break
            if size == calls.PACKETS_END:
                break
            if size in (_INTERRUPTED, _RESET):
                continue
            if size < 0:
                raise trio.BrokenResourceError(os.strerror(-size))
            if size > max_size:
                if taken:
                    break
                raise MessageTooLarge(size, max_size)
            # Reading nothing would not take an empty packet out of the queue.
            size = max(size, 1)
            try:
                if self._enclosed is None:
                    # One step, so that what a signal handler raises cannot take it along.
                    into.extend(map(os.read, (number,), (size,)))
                else:
                    self._get_enclosed(number, size, self._enclosed, into)
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

    def _get_enclosed(
        self, number: int, size: int, enclosed: AttachedDescriptors, into: deque[Any]
    ) -> None:
        """The next packet, and its descriptors."""
        incoming = passing.Incoming(size, enclosed.most)
        # Set first, and cleared last: if a signal handler raises, the descriptors are closed.
        self._receive_fault = RECEIVE_INTERRUPTED
        try:
            into.append(passing.receive_enclosed(number, incoming, enclosed))
        except DescriptorsLost as error:
            self._receive_fault = str(error)
            raise
        except BaseException:
            if not incoming.has_come:
                self._receive_fault = None
            raise
        self._receive_fault = None

    def _put_eof(self) -> None:
        self._shut_sending()
