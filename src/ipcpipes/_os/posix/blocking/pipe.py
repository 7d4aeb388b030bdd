"""POSIX: the ends of a pipe(2) without an event loop.

The descriptors are in non-blocking mode: no call of the system wakes a thread that is inside
read(2) of a pipe, as shutdown(2) does for a socket, so that who has to wait does it in poll(2),
where a second pipe says "closing".
"""

from __future__ import annotations

import errno
import os
import select
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ....abc import PeerIdentity
from ....endpoint import Endpoint
from ...common.deadline import Deadline
from ...common.inheritable import USED, InheritableEnd
from .. import calls, inheritance as inherited, pipe_size as pipe, standard_numbers as standard
from ..opened import Opened
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
_INTERRUPTED = -errno.EINTR


class _End(InheritableEnd, streams.Socket):
    """One descriptor of a pipe, and the pipe that wakes who waits, made when first needed.

    Lifetime: as a socket's, but for what was handed over, which is kept in ``_handed_over`` until
    it is disposed of.
    """

    @property
    @abstractmethod
    def _spare_turns(self) -> dict[str, None]:
        """The turn of the direction that the pipe does not have."""

    def __init__(self, opened: Opened, endpoint: Endpoint | None = None) -> None:
        fd = opened.number
        self._woken = self._waker = -1
        self._poll: select.poll | None = None
        where = Endpoint.inherited(fd) if endpoint is None else endpoint
        super().__init__(opened, where, b"descriptor %d" % fd, calls.UnknownPeer())
        # A pipe with both ends here is also for a forked child, as pipe(2) is.
        self.ends_at_fork = endpoint is not None
        self._peer = PeerIdentity()

    def _prepare(self, fd: int) -> None:
        os.set_blocking(fd, False)

    @property
    def capacity(self) -> int:
        with self._held() as fd:
            return pipe.capacity(fd)

    def set_capacity(self, size: int) -> None:
        with self._held() as fd:
            pipe.set_capacity(fd, size)

    @property
    def send_buffer_size(self) -> int:
        return self.capacity

    @property
    def receive_buffer_size(self) -> int:
        return self.capacity

    @contextmanager
    def _held(self) -> Iterator[int]:
        """The descriptor, which nobody closes meanwhile."""
        turns = self._spare_turns
        try:
            del turns["turn"]
        except KeyError:
            raise self._busy("looking at") from None
        try:
            yield self._require_open()
        finally:
            turns["turn"] = None
            if self._number == -1:
                self._leave()

    def _require_open(self) -> int:
        if self._number == -1:
            raise self._closed_here()
        return self._number

    def _busy(self, doing: str) -> Exception:
        return self._closed_here() if self._number == -1 else super()._busy(doing)

    def _wait_ready(self, events: int, deadline: Deadline | None, what: str) -> None:
        self._used = True
        if self._poll is None:
            self._poll = self._new_poll(events)
        # After that: who closes from here on finds the waker, and writes.
        self._require_open()
        if deadline is None:
            self._poll.poll()
        elif not self._poll.poll(deadline.milliseconds(what, first=False)):
            raise deadline.error(what)

    def _new_poll(self, events: int) -> select.poll:
        if self._waker == -1:
            self._woken, self._waker = standard.pipe()
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(self._require_open(), events)
        return poll

    def _wake(self, number: int) -> None:
        if self._waker != -1:
            os.write(self._waker, b"x")

    def _in_forked_child(self, text: str) -> None:
        super()._in_forked_child(text)
        # The parent's threads wait on these.
        self._close_waker()
        self._poll = None

    def _give_up(self, number: int) -> None:
        super()._give_up(number)
        self._close_waker()

    def _close_waker(self) -> None:
        for fd in (self._woken, self._waker):
            if fd != -1:
                os.close(fd)
        self._woken = self._waker = -1

    def _take_out(self) -> int:
        fd = self._take_number(USED if self._used else None)
        # As any program expects of what it inherits.
        os.set_blocking(fd, True)
        return fd

    def _close_number(self, number: int) -> None:
        os.close(number)

    def close(self) -> None:
        super().close()
        self.dispose_local_copy()

    def __del__(self) -> None:
        if self._handed_over != -1:
            self._number, self._handed_over = self._handed_over, -1
        if getattr(self, "_is_held", False):
            self._close_waker()
        super().__del__()


class SendStream(_End, streams.SendStream):
    """The end of an anonymous pipe that data goes into; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """

    @property
    def _spare_turns(self) -> dict[str, None]:
        return self._may_receive

    def _put(self, data: Any, deadline: Deadline | None) -> None:
        self._used = True
        try:
            while code := calls.write_rest(self._send_number, data, len(data), self._position):
                if code == _AGAIN:
                    self._wait_ready(select.POLLOUT, deadline, streams.NO_ROOM)
                elif code != _INTERRUPTED:
                    self._raise_unsendable(-code)
        except BaseException:
            if self._position[0]:
                self._send_number = -1  # first: another signal can interrupt a call
                self._break(f"a send was interrupted after {self._position[0]} bytes")
            raise


class ReceiveStream(_End, streams.ReceiveStream):
    """The end of an anonymous pipe that data comes out of; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """

    @property
    def _spare_turns(self) -> dict[str, None]:
        return self._may_send

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
                # In one step, as in a socket's _fetch.
                (self._came,) = map(read, (self._number,), (argument,))
            except BlockingIOError:
                self._wait_ready(select.POLLIN, deadline, streams.NOTHING_CAME)
            except OSError as error:
                self._check_end(error)
                self._came = end


def open_anonymous_pipe(capacity: int | None) -> tuple[ReceiveStream, SendStream]:
    """(receive end, send end)"""
    with inherited.open_pipe(capacity) as opened:
        sending = SendStream(opened)
        return ReceiveStream(opened), sending
