"""One message to every client, where no client can hold up the others."""

from __future__ import annotations

import logging
from collections import deque
from typing import Literal

import trio

from . import abc
from .abc.uncopied import Uncopied
from .channel import MessageChannel
from .errors import MessageTooLarge
from .framing import Buffer, Framing

__all__ = ["Broadcaster"]

logger = logging.getLogger("ipcpipes")


class _Client:
    """A channel, and the messages that it has not been handed yet. It lives as long as the
    :meth:`Broadcaster.serve` that made it.
    """

    def __init__(self, channel: abc.MessageChannel) -> None:
        self.channel = channel
        self.scope = trio.CancelScope()
        self.waiting: deque[bytes] = deque()
        self._lot = trio.lowlevel.ParkingLot()

    def put(self, message: bytes) -> None:
        self.waiting.append(message)
        self._lot.unpark()

    async def pump(self) -> None:
        while True:
            if not self.waiting:
                await self._lot.park()
            batch = list(self.waiting)
            self.waiting.clear()
            await self.channel.send_many(batch)


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
        when_slow: ``"disconnect"`` closes the channel of a client whose queue is full, with a
            warning to the logger ``ipcpipes``; a client that is served has then missed nothing.
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

        It is a handler for :func:`ipcpipes.serve_messages` as it stands. A handler that receives
        too runs it in a task beside that. It returns when sending shows that the client has
        gone, or you closed the channel, or the client was too slow; cancelling it takes the
        client out of the broadcast.
        """
        client = _Client(channel)
        self._clients.add(client)
        try:
            with client.scope:
                await client.pump()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self._clients.discard(client)
        logger.warning("disconnected %r: it was %d messages behind", channel, self._backlog)
        await channel.aclose()

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
                client.scope.cancel()

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
