"""POSIX: a listening Unix domain socket without an event loop."""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING

from ...common.forking import remember
from ...common.listening import AcceptStatus
from ...common.opened import OpenNumbers
from ...common.threaded_listener import ConnectionT, ThreadedListener
from .. import calls, listening, standard_numbers as standard
from ..opened import OpenDescriptors
from . import connecting as connections

assert sys.platform != "win32" or not TYPE_CHECKING


class Listener(listening.ListeningSocket[ConnectionT], ThreadedListener[ConnectionT]):
    """A listening socket, and a pipe that wakes the waiting thread, because shutdown(2) on a
    listening socket wakes it on Linux only. See :class:`ipcpipes.blocking.abc.Listener`.
    """

    _connector = connections.connector

    def _prepare(self) -> None:
        # The receive end and the send end.
        self._pipe = OpenDescriptors()
        self._is_woken = False
        # This step may fail. At this point there is nothing else to close.
        standard.open_pipe(self._pipe)
        super()._prepare()
        remember(self)

    def _in_forked_child(self, text: str) -> None:
        ThreadedListener._begin_anew(self)
        listening.ListeningSocket._in_forked_child(self, text)
        # The parent's threads wait on these descriptors; the next accept makes others.
        self._close_waker()

    def _make_room(self, handle: int = -1) -> None:
        self._adjust_queue()

    def _wait(self, status: AcceptStatus, milliseconds: int) -> None:
        poll = select.poll()
        if self._pipe.numbers:
            poll.register(self._pipe.numbers[0], select.POLLIN)
        if status is not AcceptStatus.NO_CLIENT:
            poll.poll(milliseconds)
            return
        poll.register(self._fd, select.POLLIN)
        pause = int(listening.FILE_CHECK_PAUSE * 1000)
        if self._file is None or 0 <= milliseconds < pause:
            poll.poll(milliseconds)
        elif not poll.poll(pause):
            self._check_file()

    def _is_ready(self) -> bool:
        if super()._is_ready():
            return True
        self._check_file()
        return False

    def _wake_within(self) -> float | None:
        if self._exhausted or self._file is None:
            return super()._wake_within()
        return listening.FILE_CHECK_PAUSE

    def _watched(self, opened: OpenNumbers) -> tuple[int, ...]:
        waker = tuple(self._pipe.numbers[:1])
        # While no client can be accepted, the socket may be readable all the time.
        if self._exhausted or len(self._taken) >= self._max_instances:
            return waker
        return *waker, self._fd

    def _try_accept(self) -> ConnectionT | AcceptStatus:
        if not self._pipe.numbers:
            try:
                standard.open_pipe(self._pipe)
            except OSError as error:
                self._pipe.close()
                calls.require_system_error(error)
                return AcceptStatus.EXHAUSTED
        if self._is_woken:
            os.read(self._pipe.numbers[0], 1)
            self._is_woken = False
        return super()._try_accept()

    def _wake(self) -> None:
        # In a forked child that has not accepted yet, there is no pipe and no thread waits.
        if not self._is_woken and self._pipe.numbers:
            self._is_woken = True
            os.write(self._pipe.number, b"x")

    def _release_name(self) -> None:
        if self._claim is not None:
            self._claim.release()

    def _close_rest(self) -> None:
        self._close_sockets()
        self._close_waker()

    def _close_waker(self) -> None:
        self._pipe.close()
        self._is_woken = False
