"""One process of a worker group, from the master's side."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from ... import _os
from ...abc import HasFileno, MessageChannel
from ...connections.nursery import unseen_nursery
from ...connections.serving import call_async
from ...errors import WorkerFailed
from ...framing import Buffer
from ..last_reads import LastReads
from ..process import Child
from .restarts import Crashes
from .talk import Talk

KILL_AFTER = 5.0
"""Seconds between terminating a worker and killing it."""
_MOST_READS = 100  # after the end of the worker


@dataclass(eq=False)
class Delivery:
    """A message that is being sent to a worker, and the result."""

    message: bytes
    outbox: deque[Delivery]
    descriptors: Sequence[int | HasFileno] | None
    over: trio.Event = field(default_factory=trio.Event)
    failure: Exception | None = None

    async def wait(self) -> None:
        """Waits until the system has taken the whole message. If this is cancelled before the
        system has begun to take the message, it is not sent. If it is cancelled later, the message
        is sent anyway; if the message has descriptors, which must stay open, this waits until it is
        sent.

        Raises:
            trio.BrokenResourceError: the worker has ended.
            What the channel's ``send`` raises.
        """
        try:
            await self.over.wait()
        except trio.Cancelled:
            if self in self.outbox:
                self.outbox.remove(self)
            elif self.descriptors is not None:
                with trio.CancelScope(shield=True):
                    await self.over.wait()
            raise
        if self.failure is not None:
            raise self.failure


class Member:
    """One worker process, from its start to its end.

    One task sends all messages, in order: a sender that is cancelled in the middle of a message
    would break the channel for all other senders.

    Attributes:
        number: the number of the worker.
        child: the process.
        ready: set when the worker has said that it is ready.
        ended: set when the process has ended and its last message was received.
        retired: whether it was told to finish, so that its end does not count as a crash.
    """

    def __init__(self, number: int, child: Child) -> None:
        self.number = number
        self.child = child
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.retired = False
        self._outbox: deque[Delivery] = deque()
        self._posted = trio.Event()
        self._is_gone = False
        self._reads = LastReads(_MOST_READS)

    def post(
        self, message: Buffer, descriptors: Sequence[int | HasFileno] | None = None
    ) -> Delivery:
        """Adds a copy of the message to the queue."""
        flat = message if isinstance(message, bytes) else bytes(memoryview(message))
        delivery = Delivery(flat, self._outbox, descriptors)
        if self._is_gone:
            delivery.failure = self._gone()
            delivery.over.set()
        else:
            self._outbox.append(delivery)
            self._posted.set()
        return delivery

    @property
    def end(self) -> str:
        """Why the process has ended, for the log."""
        return f"{self.child.reason}, status {self.child.status}"

    def failure(self, text: str) -> WorkerFailed:
        """Makes the exception for a worker that has ended."""
        return WorkerFailed(self.number, self.child.status, f"{text} ({self.end})")

    async def converse(self, talk: Talk) -> None:
        """Sends the queued messages and handles the received ones, until the channel or the process
        ends.
        """
        channel = self.child.channel
        try:
            async with unseen_nursery() as nursery:
                nursery.start_soon(self._deliver, channel)
                nursery.start_soon(self._watch)
                while messages := await self._receive(talk, channel):
                    for message, *descriptors in messages:
                        if message and talk.on_message is not None:
                            await call_async(talk.on_message, self.number, message, *descriptors)
                            continue
                        if not message:
                            self.ready.set()
                        for number in itertools.chain(*descriptors):
                            _os.close_number(number)
                nursery.cancel_scope.cancel()
        finally:
            self._is_gone = True
            for delivery in self._outbox:
                delivery.failure = self._gone()
                delivery.over.set()

    async def end_by_force(self) -> None:
        """Terminates the process, and kills it if that does not end it. Messages that it has sent
        are still received.
        """
        self.child.terminate()
        with trio.move_on_after(KILL_AFTER):
            await self.child.wait()
            return
        self.child.kill()

    async def _receive(self, talk: Talk, channel: MessageChannel) -> list[tuple[Any, ...]]:
        """Returns the next messages; an empty list at the end."""
        # A worker that is killed while it sends leaves a part of a message.
        with suppress(trio.EndOfChannel, trio.BrokenResourceError):
            return await self._reads.read(partial(talk.receive, channel)) or []
        return []

    async def _watch(self) -> None:
        await self.child.wait()
        self._reads.child_ended()

    async def _deliver(self, channel: MessageChannel) -> None:
        while True:
            while not self._outbox:
                self._posted = trio.Event()
                await self._posted.wait()
            delivery = self._outbox.popleft()
            try:
                if delivery.descriptors is None:
                    await channel.send(delivery.message)
                else:
                    await channel.send_descriptors(delivery.message, delivery.descriptors)
            except Exception as failure:
                delivery.failure = failure
            except BaseException:  # cancelled in the middle of this message
                delivery.failure = self._gone()
                raise
            finally:
                delivery.over.set()

    def _gone(self) -> trio.BrokenResourceError:
        return trio.BrokenResourceError(f"worker {self.number} has ended")


class Slot:
    """The place of one worker of the group. After a restart, the new worker is in the same slot."""

    def __init__(self, number: int, crashes: Crashes) -> None:
        self.number = number
        self.current: Member | None = None
        # Held by the task that puts a worker into this slot.
        self.filling = trio.Lock()
        self.crashes = crashes


async def all_delivered(deliveries: Iterable[Delivery]) -> None:
    """Waits for all deliveries. A worker that ends meanwhile is not an error.

    Raises:
        The first other error of :meth:`Delivery.wait`.
    """
    failures: list[Exception] = []

    async def wait(delivery: Delivery) -> None:
        try:
            await delivery.wait()
        except trio.BrokenResourceError:
            pass
        except Exception as failure:
            failures.append(failure)

    async with trio.open_nursery() as nursery:
        for delivery in deliveries:
            nursery.start_soon(wait, delivery)
    if failures:
        raise failures[0]
