"""POSIX: the ends of a pipe(2) without an event loop.

The descriptors are in non-blocking mode. No system call wakes a thread that is inside read(2) of a
pipe, as shutdown(2) does for a socket. So a thread that has to wait does it in poll(2), and closing
writes to a second pipe that poll(2) watches too.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...common.deadline import Deadline
from ...common.locks import ResultT
from ...common.opened import OpenNumbers
from .. import (
    calls,
    pipe_size as pipe,
    socket_end,
    standard_numbers as standard,
)
from ..opened import OpenDescriptors
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING


class _End(socket_end.AnonymousEnd, streams.Socket):
    """Lifetime: as for any socket, until it is handed over; see :class:`.AnonymousEnd`.

    Attributes:
        _waker: the two ends of the pipe that wakes the waiting thread. It is opened when it is
            first needed.
    """

    _poll: select.poll | None = None

    def _configure(self, fd: int) -> None:
        self._waker = OpenDescriptors()
        os.set_blocking(fd, False)

    @property
    def capacity(self) -> int:
        return self._while_open(pipe.capacity)

    def set_capacity(self, size: int) -> None:
        self._while_open(pipe.set_capacity, size)

    def _while_open(self, function: Callable[..., ResultT], *arguments: object) -> ResultT:
        """Calls ``function`` with the descriptor. No thread closes the descriptor meanwhile."""
        # This is the lock of the direction that this end does not have.
        lock = self._may_receive if isinstance(self, SendStream) else self._may_send
        return self._locked(lock, "looking at", lambda: function(self._require_open(), *arguments))

    def _wait(self, event: int, deadline: Deadline | None) -> None:
        if self._poll is None:
            self._poll = self._new_poll(event)
        # This is checked after the waker was made: a thread that closes this end from here on finds
        # the waker, and writes to it.
        self._require_open()
        if deadline is None:
            self._poll.poll()
        elif not self._poll.poll(deadline.milliseconds(streams.TOO_LATE[event], first=False)):
            raise deadline.error(streams.TOO_LATE[event])

    def _new_poll(self, event: int) -> select.poll:
        if not self._waker.numbers:
            standard.open_pipe(self._waker)
        poll = select.poll()
        poll.register(self._waker.numbers[0], select.POLLIN)
        poll.register(self._require_open(), event)
        return poll

    def _watched(self, opened: OpenNumbers) -> tuple[int, ...]:
        if not self._waker.numbers:
            standard.open_pipe(self._waker)
        return self._waker.numbers[0], self._require_open()

    def _wake(self, number: int) -> None:
        if self._waker.numbers:
            os.write(self._waker.number, b"x")

    def _in_forked_child(self, text: str) -> None:
        super()._in_forked_child(text)
        # The parent's threads wait on these.
        self._waker.close()
        self._poll = None

    def _give_up(self, number: int) -> None:
        super()._give_up(number)
        self._waker.close()


class SendStream(_End, streams.SendStream):
    """The end of an anonymous pipe that data goes into; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """

    def _put(self, data: Any, deadline: Deadline | None) -> None:
        self._used = True
        try:
            while code := calls.write_rest(self._send_number, data, len(data), self._position):
                self._wait_for_room(code, deadline)
        except BaseException:
            if self._position[0]:
                self._send_number = -1  # first: another signal handler can raise in a call
                self._break(f"a send was interrupted after {self._position[0]} bytes")
            raise


class ReceiveStream(_End, streams.ReceiveStream):
    """The end of an anonymous pipe that data comes out of; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """

    def _fetch(self, size: int, deadline: Deadline | None) -> None:
        self._read(os.read, size, deadline, b"")

    def _fetch_into(self, view: memoryview, deadline: Deadline | None) -> None:
        self._read(os.readv, (view,), deadline, 0)

    def _read(
        self,
        read: Callable[[int, Any], bytes | int],
        argument: Any,
        deadline: Deadline | None,
        end: bytes | int,
    ) -> None:
        self._used = True
        while self._came is None:
            try:
                # This is one step, as in a socket's _fetch.
                (self._came,) = map(read, (self._number,), (argument,))
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
            except OSError as error:
                self._check_end(error)
                self._came = end
