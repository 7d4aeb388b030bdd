"""A client's call under trio: from the request to the answer."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import trio

from ..core.arguments import encode_arguments
from ..core.call import Call
from ..core.client import milliseconds_of
from ..core.events import CallEvent, Notify
from ..definition.operations import Operation
from .call_driver import CallDriver
from .client_link import ClientLink

__all__ = ["ClientCallDriver", "begin_call"]


logger = logging.getLogger("ipcpipes.rpc")


async def begin_call(
    link: ClientLink,
    operation: Operation,
    values: Sequence[Any],
    notify: Notify | None,
    metadata: bytes,
    deadline: float | None = None,
) -> ClientCallDriver:
    """Sends the request when the server accepts another call. This is a checkpoint only if it
    fails, or if the call has no answer.

    Args:
        metadata: of the call, encoded.
        deadline: of the call, on the clock of trio; ``None`` for that of the current scope.

    Raises:
        RpcError: there is no connection, or no such operation.
        TypeError, ValueError: the arguments cannot be sent.
    """
    session = link.session
    if link.is_of_parent:
        session.require_open()  # raises at once: the event loop may be the parent's too
    await trio.lowlevel.checkpoint_if_cancelled()
    is_maybe = operation.options.maybe
    has_place = False  # whether this task was woken to begin its call
    try:
        octets = encode_arguments(operation, values)
        waits = bool(link.callers) and not is_maybe
        if is_maybe or waits or not session.has_room or link.is_full:
            await trio.lowlevel.checkpoint()
            while True:
                if waits or not session.has_room:
                    has_place = waits = False
                    await link.wait_place()
                    has_place = True
                elif link.is_full:
                    await link.wait_room()
                else:
                    break
        milliseconds = None
        if deadline is None:
            deadline = trio.current_effective_deadline()
        if deadline != math.inf:
            milliseconds = milliseconds_of(deadline - trio.current_time())
        call = session.request(operation, octets, milliseconds, metadata)
        if is_maybe and has_place:
            link.wake_caller()  # the call is over at once
    except BaseException as error:
        if has_place:
            link.wake_caller()  # this task was woken for a call that it does not begin
        if isinstance(error, Exception):
            # This is a checkpoint, so that a loop that retries lets other tasks run and can be
            # cancelled.
            await trio.lowlevel.cancel_shielded_checkpoint()
        raise
    driver = ClientCallDriver(link, call, notify)
    link.flush()
    return driver


class ClientCallDriver(CallDriver):
    """A call at the client."""

    link: ClientLink

    def __init__(self, link: ClientLink, call: Call, notify: Notify | None) -> None:
        super().__init__(link, call)
        self._notify = notify
        call.notify = notify is not None

    def notify(self, event: CallEvent) -> None:
        # An exception must not propagate: the current task may serve another call.
        assert self._notify is not None
        try:
            self._notify(event)
        except Exception:
            logger.exception("%r failed", self._notify)

    async def answered(self) -> None:
        """Waits for the answer."""
        call = self.call
        if call.has_ended:
            await trio.lowlevel.checkpoint()
        while not call.has_ended:
            if self.link.may_read:
                await self.link.read_answer()
            else:
                self.link.have_read()
                await self.wait()

    def leave(self) -> None:
        call = self.call
        call.leave()
        if not call.is_answered:
            self.link.flush()

    def abandon(self) -> None:
        self.call.abandon()
        self.link.flush()

    def cancel(self) -> None:
        self.call.cancel()
        self.link.flush()
