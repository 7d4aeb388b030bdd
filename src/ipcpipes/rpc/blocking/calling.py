"""A client's call without an event loop: from the request to the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from ..core.call import Call
from ..core.client import Feeds, milliseconds_of
from ..core.events import CallEvent, Notify
from ..definition.operations import Operation
from ..errors import RpcError
from .call_driver import CallDriver
from .feeding import PipePump, pumps_of
from .link import Link
from .stream_feeding import StreamMover

__all__ = ["ClientCallDriver"]


class ClientCallDriver(CallDriver):
    """A call at the client, with the sources and sinks of its pipes."""

    def __init__(self, link: Link, deadline: float | None, notify: Notify | None) -> None:
        super().__init__(link, deadline)
        self._notify = notify
        self._has_begun = False
        self._pumps: dict[tuple[bool, int], PipePump] = {}
        self._mover: StreamMover | None = None
        self._moves: object = None  # identifies the move that is running

    def adopt(self, call: Call) -> None:
        super().adopt(call)
        call.notify = self._notify is not None
        self._has_begun = True

    def notify(self, event: CallEvent) -> None:
        assert self._notify is not None
        self.link.notice(partial(self._notify, event))

    def answered(self, until: float | None, *, sliced: bool = False) -> bool:
        """Waits for the answer, or for the turn of a pipe that has an argument. Returns whether one
        of them has come in time.
        """
        call, pumps = self.call, self._pumps

        def can_go_on() -> bool | None:
            return call.has_ended or call.cursor.turn in pumps or None

        return self.link.wait(can_go_on, self, until, sliced=sliced) is not None

    def begin(self, operation: Operation, octets: bytes, metadata: bytes) -> bool:
        """Sends the request when the server accepts another call. Returns whether that was possible
        in time. This driver exists before the call, so that an exception can never lose a call that
        has begun.

        Args:
            octets: the arguments.
            metadata: of the call, encoded.

        Raises:
            RpcError: there is no connection, or no such operation.
            ValueError: the arguments or the metadata are larger than the server accepts.
        """
        link, session, deadline = self.link, self.link.session, self.deadline

        def try_to_begin() -> bool | None:
            if not session.has_room:
                return None
            left = None if deadline is None else milliseconds_of(deadline - time.monotonic())
            call, frame = session.prepare(operation, octets, left)
            self.adopt(call)
            session.begin(call, frame, metadata)
            return True

        if link.is_full and not link.wait_room(deadline):
            return False
        return link.wait(try_to_begin, link, deadline) is not None

    # The pipes and streams that have an argument.

    def give(self, given: Feeds) -> None:
        if self.call.operation.streams:
            self._mover = StreamMover(self, given) if given else None
        else:
            self._pumps = pumps_of(self, given)

    def move(self, until: float | None, stop: tuple[bool, int] | None = None) -> bool:
        """Fills and empties the pipes that have an argument, as long as one of them has the turn;
        or the streams, until the call has ended. Returns whether that was possible in time.

        Args:
            stop: the turn of a pipe that is driven by hand, at which this ends.
        """
        if self._mover is not None:
            return self._move(until, partial(self._mover.run, until, lambda: False))
        return not self._pumps or self._move(until, partial(self._run_pumps, until, stop))

    def _run_pumps(self, until: float | None, stop: tuple[bool, int] | None) -> bool:
        while (turn := self.call.cursor.turn) is not None and turn != stop:
            pump = self._pumps.get(turn)
            if pump is None:
                return True
            if not pump.run(until):
                return False
            del self._pumps[turn]
        return True

    def _move(self, until: float | None, run: Callable[[], bool]) -> bool:
        """Runs a function that moves data, in one thread at a time. Returns what it returns, or
        ``False`` when the time is over.
        """
        this = object()

        def begin() -> bool | None:
            if self._moves is not None:
                return None
            self._moves = this
            return True

        try:
            return self.link.wait(begin, self, until) is not None and run()
        except RpcError:
            raise
        except Exception:
            self.abandon()
            raise
        finally:
            if self._moves is this:
                self._moves = None
                if self.waiters:
                    with self.link.lock:
                        self.wake()

    def wait_batch(self, index: int, until: float | None) -> bytes | memoryview | None:
        if self._mover is not None:
            incoming = self._streams.incoming[index]
            run = partial(self._mover.run, until, lambda: incoming.has_news)
            if not self._move(until, run):
                return None
        return super().wait_batch(index, until)

    def _move_up_to(self, index: int, *, into: bool) -> None:
        if not self.move(self.deadline, (into, index)):
            self.expire()

    # The end.

    def leave(self) -> None:
        """Ends the call at this end. If no answer has come, the call is given up. Idempotent, and
        without effect on a call that has not begun.
        """
        if not self._has_begun:
            return
        if self.call.is_answered and not self.waiters:
            self.call.leave()  # no lock is needed: no thread waits for a call that was answered
        else:
            self.link.do(self.call.leave, wait=False)
        for pump in self._pumps.values():
            pump.close()
        if self._mover is not None:
            self._mover.close()

    def abandon(self) -> None:
        self.link.do(self.call.abandon, wait=False)

    def cancel(self) -> None:
        self.link.do(self.call.cancel)
