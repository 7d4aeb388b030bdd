"""POSIX: a blocking stream with one user that sends and receives at the same time, and loses
nothing when it is interrupted.
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
from ....framing.outgoing import READ_SIZE
from ...common.deadline import Deadline
from .. import calls
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
_INTERRUPTED = -errno.EINTR

# Looked up once: they are called for every message.
_send_from = calls.send_from


class Duplex:
    """The buffers of a stream that has no other user: bytes to be sent, and received bytes.

    One thread may send while another one receives. A signal handler's exception changes neither
    position: the next operation continues there, and nothing is sent twice. This object never
    closes the stream, which belongs to its owner.

    Attributes:
        came: the received data, in order: bytes, or the number of bytes that were put into the
            caller's memory. Empty bytes or 0 mean the end.
        outgoing: the bytes that are being sent; how many of them were sent, a counter of the C
            layer; and the bytes after them. One statement changes all three, so that no signal
            handler runs in between. When all bytes are sent, the counter is 0 again.
    """

    def __init__(self, stream: streams.Stream) -> None:
        self.came: deque[bytes | int] = deque()
        self._stream = stream
        self.outgoing: tuple[Any, Any, memoryview | bytes] = (
            b"",
            ffi.new(calls.new_position),
            b"",
        )

    def receive(
        self, deadline: Deadline | None, place: Callable[[], memoryview] | None = None
    ) -> None:
        """Waits for bytes, and adds them to :attr:`came`; or puts them into the memory that
        ``place`` returns. ``place`` is called when something can be read, so that a waiting thread
        holds no memory.

        Raises:
            What :meth:`ipcpipes.blocking.abc.ReceiveByteStream.receive_some` raises.
        """
        stream = self._stream
        try:
            del stream._may_receive["turn"]
        except KeyError:
            raise stream._busy("receiving from") from None
        try:
            if deadline is not None or place is not None:
                stream._wait(select.POLLIN, deadline)
            try:
                # In both cases no signal handler runs between the reading and the end of the
                # storing, so that no received byte is lost.
                if place is None:
                    if stream._number == -1:
                        stream._require_open()
                    for data in stream._reads:
                        self.came.append(data)
                        break
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

    def load(self, data: bytes) -> None:
        """Sets the bytes to be sent next. The bytes before them must have been sent."""
        self.outgoing = self.prepared(data)

    def prepared(self, data: bytes, rest: memoryview | bytes = b"") -> tuple[Any, Any, Any]:
        """Returns what has to be assigned to :attr:`outgoing`, to send these bytes next. The bytes
        before them must have been sent.
        """
        position = self.outgoing[1]
        position[0] = 0
        return data, position, rest

    def lend(self, data: bytes, memory: memoryview) -> None:
        """Sets the bytes to be sent next: ``data``, and then ``memory``, which its owner may change
        again after :meth:`keep`.
        """
        # The first send is so large that the other end does not wake up for ``data`` alone.
        first = b"".join((data, memory[:READ_SIZE]))
        self.outgoing = self.prepared(first, memory[READ_SIZE:])

    def keep(self) -> None:
        """Copies the part of the lent memory that was not sent."""
        data, position, rest = self.outgoing
        if rest:
            self.outgoing = (data, position, bytes(rest))
        elif type(data) is not bytes:
            self.outgoing = (bytes(ffi.buffer(data)), position, b"")
            ffi.release(data)

    def send_now(self) -> bool:
        """Sends what the system accepts without waiting. Returns whether everything was sent.

        Raises:
            What :meth:`ipcpipes.blocking.abc.SendByteStream.send_all` raises.
        """
        stream = self._stream
        try:
            del stream._may_send["turn"]
        except KeyError:
            raise stream._busy("sending on") from None
        try:
            data, position, rest = self.outgoing
            while data:
                code = _send_from(stream._send_number, data, len(data), position, False)
                if not code:
                    data, rest = ffi.from_buffer(rest) if rest else b"", b""
                    position[0] = 0
                    self.outgoing = (data, position, rest)
                elif code == _AGAIN:
                    return False
                elif code != _INTERRUPTED:
                    stream._raise_unsendable(-code)
            return True
        finally:
            stream._may_send["turn"] = None
            if stream._waiting or stream._number == -1:
                stream._leave()

    def send_on(self, milliseconds: int) -> bool:
        """Waits for room, ``milliseconds`` at most, and then does the same as :meth:`send_now`."""
        return self._go_on(milliseconds, select.POLLOUT, None)

    def send_or_receive(
        self, milliseconds: int, place: Callable[[], memoryview] | None = None
    ) -> bool:
        """Does the same as :meth:`send_on`, and receives bytes that come meanwhile. Received bytes
        end the wait too.
        """
        return self._go_on(milliseconds, select.POLLOUT | select.POLLIN, place)

    def _go_on(
        self, milliseconds: int, events: int, place: Callable[[], memoryview] | None
    ) -> bool:
        poll = select.poll()
        poll.register(self._stream._require_open(), events)
        for _, found in poll.poll(milliseconds):
            if events & select.POLLIN and found & ~select.POLLOUT:
                self.receive(Deadline(0), place)
            if found & ~select.POLLIN:
                return self.send_now()
        return False

    def give_up(self) -> None:
        """Called when the rest will not be sent. On this system there is nothing to do."""
