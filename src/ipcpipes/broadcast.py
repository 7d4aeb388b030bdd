"""One message to every client, where no client can hold up the others."""

from __future__ import annotations

import logging
from collections import deque
from typing import Literal

import trio

from . import abc
from .abc.uncopied import Uncopied
from .channel import MessageChannel
from .channel_base import Channel
from .child.nursery import unseen_nursery
from .errors import MessageTooLarge
from .framing import Buffer, Framing

__all__ = ["Broadcaster"]

logger = logging.getLogger("ipcpipes")


# What is handed to the system at once, when it is several messages: all of it has to go out before
# the channel can be used for anything else.
_AT_ONCE = 65_536  # bytes
# How long a cancelled broadcast waits for the peer to take what is under way.
_LEAVE_WITHIN = 1.0  # seconds


class _Client:
    """A channel, and the messages that it has not been handed yet. It lives as long as the
    :meth:`Broadcaster.serve` that made it.

    Attributes:
        why: how it has ended, once it has.
    """

    def __init__(self, channel: abc.MessageChannel) -> None:
        self.channel = channel
        self.waiting: deque[bytes] = deque()
        self.why = "unsubscribed"
        self.is_slow = False
        self.ended = trio.Event()
        self._leaves = False
        # What is under way is not cancelled from outside, for a part of a message breaks the
        # channel: the watch is, and says so.
        self._sending = trio.CancelScope(shield=True)
        self._lot = trio.lowlevel.ParkingLot()

    def put(self, message: bytes) -> None:
        self.waiting.append(message)
        self._lot.unpark()

    def leave(self) -> None:
        """Withdraws what waits, and ends when what is under way is out."""
        self._leaves = True
        self.waiting.clear()
        self._lot.unpark()

    def disconnect(self, why: str) -> None:
        """Ends at once, in the middle of a message."""
        self.why = why
        self.is_slow = True
        self.leave()
        self._sending.cancel()

    async def run(self) -> None:
        """Sends what is put, until it has left or the peer has gone."""
        async with unseen_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            try:
                await self._pump()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self.why = str(error)
            nursery.cancel_scope.cancel()

    async def _pump(self) -> None:
        with self._sending:
            while not self._leaves:
                if self.waiting:
                    await self.channel.send_many(self._next())
                else:
                    await self._lot.park()
        # It may have been cancelled, which the scope above keeps out.
        await trio.lowlevel.checkpoint_if_cancelled()

    def _next(self) -> list[bytes]:
        batch = [self.waiting.popleft()]
        size = len(batch[0])
        while self.waiting and (size := size + len(self.waiting[0])) <= _AT_ONCE:
            batch.append(self.waiting.popleft())
        return batch

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Ends it when the peer goes, and bounds how long it takes when it is cancelled."""
        try:
            if isinstance(self.channel, Channel):
                await self.channel.wait_for_end()
            await trio.sleep_forever()
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.why = str(error)
            self.leave()
            self._sending.cancel()
            scope.cancel()
        finally:
            self.leave()
            self._sending.deadline = trio.current_time() + _LEAVE_WITHIN


class Broadcaster(Uncopied):
    """Sends each message to all the channels that it serves::

        news = ipcpipes.Broadcaster()
        nursery.start_soon(ipcpipes.serve_messages, news.serve, "news")
        await news.send(b"to everyone")

    Each client has a queue of its own, which its own task empties, so that a client that has
    stopped reading never delays another one, nor the sender. A queue that is full means that
    its client is slow, and then ``when_slow`` says what is done.

    Args:
        backlog: how many messages may wait for one client, 1 or more; what is being handed to
            the system does not count. They are the same objects for all clients.
        when_slow: ``"disconnect"`` closes the channel of a client whose queue is full; a client
            that is served has then missed nothing.
            ``"drop"`` drops the oldest message that waits for it, for messages of which only the
            latest matter; :attr:`dropped_count` counts them.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """

    def __init__(
        self, *, backlog: int = 256, when_slow: Literal["disconnect", "drop"] = "disconnect"
    ) -> None:
        if isinstance(backlog, bool) or not isinstance(backlog, int):
            raise TypeError(f"backlog must be an int, not {backlog!r}")
        if backlog < 1:
            raise ValueError(f"backlog must be 1 or more, not {backlog}")
        if when_slow not in ("disconnect", "drop"):
            raise ValueError(f'when_slow must be "disconnect" or "drop", not {when_slow!r}')
        self._backlog = backlog
        self._drops = when_slow == "drop"
        self._clients: set[_Client] = set()
        self._dropped_count = 0

    @property
    def client_count(self) -> int:
        """How many channels are served now."""
        return len(self._clients)

    @property
    def dropped_count(self) -> int:
        """How many messages were dropped, summed over all clients."""
        return self._dropped_count

    async def serve(self, channel: abc.MessageChannel) -> None:
        """Sends the client what is broadcast from now on, until it has gone.

        It is a handler for :func:`ipcpipes.serve_messages` as it stands. It returns when the client
        has gone, or was too slow, when you close the channel, or when :meth:`unsubscribe` takes
        it out of the broadcast; which of them is one INFO line of the logger ``ipcpipes``.

        That a client has gone is noticed at once: a quiet broadcast looks for the end of what the
        client sends, and reads 64 KiB ahead for that. What it reads is kept for
        :meth:`~ipcpipes.abc.MessageChannel.receive`; once that much is there and is not
        received, the next send notices. A handler that receives too runs this in a task beside; as
        soon as it receives, the end is its to notice. A client that ends its sending half
        (``send_eof``) and listens on stays.

        Cancelled, it takes the client out of the broadcast as :meth:`unsubscribe` does, and waits
        for what is under way for a second at the most: a client that does not take it by then has
        a part of a message, and the channel is broken for sending.

        A client that was too slow cannot be told so: no framing has a place for it, and the client
        does not read. It finds the end of the channel, or, inside a message, a broken one; that it
        can connect again tells it from a server that has ended.
        """
        client = _Client(channel)
        self._clients.add(client)
        try:
            await client.run()
        finally:
            self._clients.discard(client)
            client.ended.set()
        logger.info("%r has left the broadcast: %s", channel, client.why)
        if client.is_slow:
            if isinstance(channel, Channel):
                channel.disconnected = True
            await channel.aclose()

    async def unsubscribe(self, channel: abc.MessageChannel) -> None:
        """Takes a channel out of the broadcast; its :meth:`serve` returns.

        What waits for the client is withdrawn, and what is being handed to the system is
        completed, so that the channel can be used for other things when this returns. A channel
        that is not served is none of the broadcast's, and this is only a checkpoint.

        It waits as long as the client does not take what is under way. Cancelled, it has taken the
        channel out all the same, and that goes on to its end.
        """
        await trio.lowlevel.checkpoint()
        for client in [each for each in self._clients if each.channel is channel]:
            self._clients.discard(client)
            client.leave()
            await client.ended.wait()

    def send_nowait(self, message: Buffer) -> None:
        """Hands the message to every client's queue, and returns at once.

        Clients are sent to when other tasks run: a loop that only calls this fills the queues.

        Raises:
            ipcpipes.FramingError: one of the channels cannot carry it (``MessageTooLarge``: it is
                above that one's ``max_size``); nobody gets it.
            TypeError: ``message`` is no bytes-like object.
        """
        whole = bytes(memoryview(message))
        self._check(whole)
        for client in self._clients:
            if len(client.waiting) < self._backlog:
                client.put(whole)
            elif self._drops:
                client.waiting.popleft()
                client.put(whole)
                self._dropped_count += 1
            else:
                client.disconnect(f"it was too slow: {self._backlog} messages were waiting for it")

    def _check(self, message: bytes) -> None:
        framings: list[Framing] = []
        for client in self._clients:
            channel = client.channel
            if len(message) > channel.max_size:
                raise MessageTooLarge(len(message), channel.max_size)
            # Mostly it is one framing for all of them.
            if isinstance(channel, MessageChannel) and channel.framing not in framings:
                channel.framing.frame(message)
                framings.append(channel.framing)

    async def send(self, message: Buffer) -> None:
        """As :meth:`send_nowait`, and lets other tasks run: a checkpoint. It waits for nobody.

        Cancelled, it has sent to nobody.

        Raises:
            What :meth:`send_nowait` raises.
        """
        await trio.lowlevel.checkpoint()
        self.send_nowait(message)
