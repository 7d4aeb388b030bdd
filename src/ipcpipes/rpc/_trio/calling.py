"""A client's call under trio: from the request to the answer."""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import trio

from ..core.arguments import encode_arguments
from ..core.call import Call
from ..core.results import result_of
from ..core.session import Event
from ..definition.operations import Operation, Pipe
from ..errors import CallCancelled
from .call_driver import CallDriver
from .client_link import ClientLink
from .feeding import drain, feed
from .pipes import end_of

__all__ = ["CallEvent", "Caller", "ClientCallDriver", "Notify", "run_pipes"]


logger = logging.getLogger("ipcpipes.rpc")


class CallEvent(enum.Enum):
    """What ``notify`` is called with (RPC_ASYNC_EVENT in rpcasync.h)."""

    CALL_COMPLETE = "the call is over; complete() does not wait"
    SEND_COMPLETE = "the system has taken what was pushed"
    RECEIVE_COMPLETE = "something has come for a pipe, or its end"


Notify: TypeAlias = Callable[[CallEvent], object]


class Caller:
    """Begins calls on a connection, as many at a time as the server takes."""

    def __init__(self, link: ClientLink) -> None:
        self.link = link
        self.room = trio.lowlevel.ParkingLot()

    async def begin(
        self, operation: Operation, values: Sequence[Any], notify: Notify | None
    ) -> ClientCallDriver:
        """Sends the request. It is a checkpoint only if it fails, or if the call has no answer.

        Raises:
            RpcError: there is no connection, or no such operation.
            TypeError, ValueError: the arguments cannot be sent.
        """
        link, session = self.link, self.link.session
        if link.is_of_parent:
            session.require_open()  # at once: the loop may be the parent's, too
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            octets = encode_arguments(operation, values)
            session.require_open()
            if operation.options.maybe or not session.has_room or link.is_full:
                await trio.lowlevel.checkpoint()
                while (not session.has_room or link.is_full) and session.failure is None:
                    if session.has_room:
                        await link.wait_room()
                    else:
                        await self.room.park()
                session.require_open()
            call = session.request(operation, octets, _milliseconds())
        except Exception:
            # A checkpoint, so that a loop that retries lets other tasks run and can be cancelled.
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        driver = ClientCallDriver(link, call, notify)
        link.flush()
        return driver

    def may_have_room(self) -> None:
        """A call has ended, or all have."""
        if self.room:
            self.room.unpark_all()


def _milliseconds() -> int | None:
    """What is left until the caller's deadline, for the server."""
    deadline = trio.current_effective_deadline()
    if deadline == math.inf:
        return None
    left = (deadline - trio.current_time()) * 1000
    if left < 1:  # also -inf: it was cancelled
        return 1
    return min(math.ceil(left), 2**32 - 1)


class ClientCallDriver(CallDriver):
    """A call at the client."""

    link: ClientLink

    def __init__(self, link: ClientLink, call: Call, notify: Notify | None) -> None:
        super().__init__(link, call)
        self._notify = notify
        call.notify = notify is not None

    def wake(self, event: Event) -> None:
        super().wake(event)
        if self.scope is not None and self.call.failure is not None:
            self.scope.cancel()
        if self._notify is None or self.call.over:
            return
        if self.is_over:
            self._tell(CallEvent.CALL_COMPLETE)
            self._notify = None  # nothing comes after the end
        elif event is not Event.CREDIT:
            self._tell(CallEvent.RECEIVE_COMPLETE)

    def sent(self) -> None:
        self._tell(CallEvent.SEND_COMPLETE)

    def _tell(self, event: CallEvent) -> None:
        """Not a place for its errors: it may be the task of another call, with others' frames."""
        if self._notify is not None:
            try:
                self._notify(event)
            except Exception:
                logger.exception("%r failed", self._notify)

    @property
    def is_over(self) -> bool:
        return self.call.is_answered or self.call.failure is not None

    async def answered(self) -> None:
        """Waits for the answer."""
        if self.is_over:
            await trio.lowlevel.checkpoint()
        while not self.is_over:
            if self.link.may_read:
                await self.link.read_answer()
            else:
                self.link.read_by_others()
                await self.wait()

    def result(self) -> Any:
        """The answer, once.

        Raises:
            RpcError: it is a failure.
        """
        return result_of(self.call)

    def leave(self) -> None:
        """The call is over at this end; it is given up if it is not at the other one."""
        call = self.call
        if not self.is_over:
            call.orphan()
            self.link.flush()
        call.over = True
        call.owner = None  # no circle, in which a large result would lie for a while
        self._wake_tasks()  # who waits for it still hears that it is over

    def abandon(self) -> None:
        """Gives it up, and lets whoever waits for it know."""
        self.call.orphan()
        self.call.lose(CallCancelled())
        self.link.flush()
        self.wake(Event.ANSWER)


async def run_pipes(driver: CallDriver, feeds: Mapping[Pipe, tuple[Any, Any]]) -> None:
    """Fills and empties the pipes that something was given for, each in its turn."""
    call = driver.call
    with trio.CancelScope() as scope:
        # What is being read may never come to its end, and then nobody would hear of a failure.
        driver.scope = scope
        for pipe, (source, _) in feeds.items():
            if pipe.into:
                await driver.wait_turn(pipe.index, into=True)
                call.raise_failure()
                await feed(end_of(driver, pipe, serving=False), source, pipe)
    driver.scope = None
    if scope.cancelled_caught:
        call.raise_failure()
    for pipe, (_, sink) in feeds.items():
        if pipe.out:
            await driver.wait_turn(pipe.index, into=False)
            await drain(end_of(driver, pipe, serving=False), sink, pipe.element)
