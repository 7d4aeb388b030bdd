"""One process of a worker group, as its master has it."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import trio

from ... import _os
from ...abc import HasFileno, MessageChannel
from ...connections.nursery import unseen_nursery
from ...framing import Buffer
from ..process import Child
from .restarts import Crashes, Restarts
from .talk import Talk

# Seconds until a worker that was terminated is killed.
LAST_WORDS = 5.0
# After its end, what a worker has sent is in the pipe, and comes with the next reads. All else is
# from another process that has the pipe too, because the worker has forked.
_PATIENCE = 0.5  # seconds without anything
_MOST_READS = 100


class Delivery:
    """A message on its way to a worker, and how that ended."""

    def __init__(
        self,
        message: bytes,
        outbox: deque[Delivery],
        descriptors: Sequence[int | HasFileno] | None,
    ) -> None:
        self.message = message
        self.descriptors = descriptors
        self.over = trio.Event()
        self.failure: Exception | None = None
        self._outbox = outbox

    async def wait(self) -> None:
        """Returns when the system has taken all of the message. If this is cancelled before the
        system has begun to take it, the message is not sent. If it is cancelled later, the message
        is sent anyway, and this waits for it if it has descriptors, which must stay open.

        Raises:
            trio.BrokenResourceError: the worker is gone.
            What the channel's ``send`` raises.
        """
        try:
            await self.over.wait()
        except trio.Cancelled:
            if self in self._outbox:
                self._outbox.remove(self)
            elif self.descriptors is not None:
                with trio.CancelScope(shield=True):
                    await self.over.wait()
            raise
        if self.failure is not None:
            raise self.failure


class Member:
    """One process, from its start to its end.

    What is sent to it goes through one task, in order: a sender that is cancelled in the middle of
    a message would leave the channel broken for everybody else.

    Attributes:
        number: which worker it is, or will be, or was.
        child: the process, once it is started.
        ready: it has said so.
        ended: it is gone, and all that it said was heard.
        retired: it was told to finish, so that its end is no crash.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Child | None = None
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.retired = False
        self._outbox: deque[Delivery] = deque()
        self._posted = trio.Event()
        self._is_gone = False
        self._has_ended = False
        self._reads_left = _MOST_READS
        self._waiting = trio.CancelScope()

    def post(
        self, message: Buffer, descriptors: Sequence[int | HasFileno] | None = None
    ) -> Delivery:
        """Puts a message behind those that are on their way; the copy is ours."""
        flat = message if isinstance(message, bytes) else bytes(memoryview(message))
        delivery = Delivery(flat, self._outbox, descriptors)
        if self._is_gone:
            delivery.failure = self._gone()
            delivery.over.set()
        else:
            self._outbox.append(delivery)
            self._posted.set()
        return delivery

    async def converse(self, child: Child, talk: Talk) -> None:
        """Sends what is posted, and hands on what comes, to the end of the channel or of the
        process, whichever is first.
        """
        channel = child.channel
        try:
            async with unseen_nursery() as nursery:
                nursery.start_soon(self._deliver, channel)
                nursery.start_soon(self._watch, child)
                while messages := await self._receive(talk, channel):
                    for message, *descriptors in messages:
                        if message and talk.on_message is not None:
                            await talk.on_message(self.number, message, *descriptors)
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
        """Terminates it, and kills it when that does not help. What it has said is still heard."""
        assert self.child is not None
        self.child.terminate()
        with trio.move_on_after(LAST_WORDS):
            await self.child.wait()
            return
        self.child.kill()

    async def _receive(self, talk: Talk, channel: MessageChannel) -> list[tuple[Any, ...]]:
        """The messages that have come; none at the end."""
        for _ in range(2):
            with trio.CancelScope(deadline=self._deadline()) as self._waiting:
                try:
                    return await talk.receive(channel)
                except (trio.EndOfChannel, trio.BrokenResourceError):
                    # A worker that is killed while it sends leaves a part of a message.
                    return []
            # Perhaps other tasks have taken all the time. What is there is read without a wait.
        return []

    def _deadline(self) -> float:
        if not self._has_ended:
            return math.inf
        self._reads_left -= 1
        return trio.current_time() + _PATIENCE if self._reads_left > 0 else -math.inf

    async def _watch(self, child: Child) -> None:
        await child.wait()
        self._has_ended = True
        self._waiting.deadline = trio.current_time() + _PATIENCE

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
            except BaseException:  # the end of it all, in the middle of this one
                delivery.failure = self._gone()
                raise
            finally:
                delivery.over.set()

    def _gone(self) -> trio.BrokenResourceError:
        return trio.BrokenResourceError(f"worker {self.number} has ended")


class Slot:
    """A numbered place for a worker."""

    def __init__(self, number: int, restarts: Restarts) -> None:
        self.number = number
        self.current: Member | None = None
        # Held by the task that puts a worker into this slot.
        self.filling = trio.Lock()
        self.crashes = Crashes(restarts)


def how(child: Child) -> str:
    return f"{child.reason}, status {child.status}"


async def all_delivered(deliveries: Iterable[Delivery]) -> None:
    """Waits for all of them. A worker that dies meanwhile is not an error.

    Raises:
        The first of what :meth:`Delivery.wait` raises otherwise.
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
