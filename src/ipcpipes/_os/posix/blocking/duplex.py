"""POSIX: a blocking stream whose one user sends and receives at the same time, and loses nothing
when it is interrupted.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...._ffi import ffi
from ...common.deadline import Deadline
from .. import calls
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

_READ_SIZE = 64 * 1024
_AGAIN = -errno.EAGAIN
_INTERRUPTED = -errno.EINTR

# Looked up once: they are called for every message.
_read = os.read
_send_from = calls.send_from
_SIZES = (_READ_SIZE,)


class Duplex:
    """What is on its way out and what has come, of a stream that nobody else uses.

    One thread may send while another one receives. A signal handler's exception changes neither
    position: the next operation continues there, and nothing is sent twice. It closes nothing:
    the stream belongs to its owner.

    Attributes:
        came: what was received, in order, or how much of it, where it was given memory; nothing is
            the end.
    """

    def __init__(self, stream: streams.Stream) -> None:
        self.came: deque[bytes | int] = deque()
        self._stream = stream
        # What is being sent, how far that is (memory which the C layer counts in), and what comes
        # after it. From one to the next nothing is called, so that no signal handler runs between.
        position = ffi.new(calls.new_position)
        self._outgoing: tuple[Any, Any, memoryview | bytes] = (b"", position, b"")

    def receive(
        self, deadline: Deadline | None, place: Callable[[], memoryview] | None = None
    ) -> None:
        """Waits for bytes, and puts them into :attr:`came`; or into the memory that ``place``
        gives. It is asked once something has come, so that who waits holds no memory.

        Raises:
            What :meth:`ipcpipes.blocking.abc.ReceiveByteStream.receive_some` raises.
        """
        stream = self._stream
        try:
            del stream._may_receive["turn"]
        except KeyError:
            raise stream._busy("receiving from") from None
        try:
            if deadline is not None:
                stream._wait(select.POLLIN, deadline, streams.NOTHING_CAME, first=True)
            elif place is not None:
                poll = select.poll()
                poll.register(stream._require_open(), select.POLLIN)
                poll.poll()
            try:
                # In one step that no signal handler gets into, so that none can take what has come.
                if place is None:
                    self.came.extend(map(_read, (stream._number,), _SIZES))
                else:
                    self.came.extend(map(os.readv, (stream._number,), ((place(),),)))
            except OSError as error:
                stream._check_end(error)
                self.came.append(b"")
            if not self.came[-1]:
                stream._require_open()
        finally:
            stream._may_receive["turn"] = None
            if stream._number == -1:
                stream._leave()

    def load(self, octets: bytes) -> None:
        """Takes what is to be sent next; what was before is on its way."""
        self._begin(octets, b"")

    def _begin(self, octets: Any, rest: memoryview | bytes) -> None:
        position = self._outgoing[1]
        position[0] = 0
        self._outgoing = (octets, position, rest)

    def lend(self, octets: bytes, memory: memoryview) -> None:
        """The same with memory behind it that its owner has back with :meth:`keep`."""
        # What goes first is so much that the other end is not waked for the octets alone.
        self._begin(b"".join((octets, memory[:_READ_SIZE])), memory[_READ_SIZE:])

    def keep(self) -> None:
        """Copies what has not gone of the memory that was lent."""
        octets, position, rest = self._outgoing
        if rest:
            self._outgoing = (octets, position, bytes(rest))
        elif type(octets) is not bytes:
            self._outgoing = (bytes(ffi.buffer(octets)), position, b"")
            ffi.release(octets)

    def send_now(self) -> bool:
        """Hands the system what it takes without waiting; whether that was all.

        Raises:
            What :meth:`ipcpipes.blocking.abc.SendByteStream.send_all` raises.
        """
        stream = self._stream
        try:
            del stream._may_send["turn"]
        except KeyError:
            raise stream._busy("sending on") from None
        try:
            octets, position, rest = self._outgoing
            while octets:
                if position[0] < len(octets):
                    code = _send_from(stream._send_number, octets, len(octets), position, False)
                    if code == _AGAIN:
                        return False
                    if code and code != _INTERRUPTED:
                        stream._raise_unsendable(-code)
                else:
                    octets, rest = ffi.from_buffer(rest) if rest else b"", b""
                    self._begin(octets, rest)
            return True
        finally:
            stream._may_send["turn"] = None
            if stream._waiting or stream._number == -1:
                stream._leave()

    def send_on(self, milliseconds: int) -> bool:
        """The same, once it has waited for room; for so long at the most."""
        return self._go_on(milliseconds, receiving=False)

    def send_or_receive(
        self, milliseconds: int, place: Callable[[], memoryview] | None = None
    ) -> bool:
        """The same, and what comes meanwhile is received, and ends the wait too."""
        return self._go_on(milliseconds, receiving=True, place=place)

    def _go_on(
        self, milliseconds: int, *, receiving: bool, place: Callable[[], memoryview] | None = None
    ) -> bool:
        poll = select.poll()
        poll.register(
            self._stream._require_open(), select.POLLOUT | (select.POLLIN if receiving else 0)
        )
        for _, found in poll.poll(milliseconds):
            if receiving and found & ~select.POLLOUT:
                self.receive(Deadline(0), place)
            if found & ~select.POLLIN:
                return self.send_now()
        return False

    def give_up(self) -> None:
        """Nobody is going to send the rest."""
