"""Sends each message to every client; a slow client does not delay the others."""

from __future__ import annotations

import logging
from collections import deque
from typing import Literal

import trio

from . import abc
from .abc.uncopied import Uncopied
from .connections.nursery import unseen_nursery
from .errors import MessageTooLarge
from .framing import Buffer, Framing
from .messages.base import Channel
from .messages.framed import MessageChannel
from .options import check_choice

__all__ = ["Broadcaster"]

logger = logging.getLogger("ipcpipes")


# How much is passed to the system at once when several messages are waiting. All of it has to be
# sent before the channel can be used for anything else.
_AT_ONCE = 65_536  # bytes
# How long a cancelled broadcast waits for the peer to take the messages that are being sent.
_LEAVE_WITHIN = 1.0  # seconds


class _Client:
    """A channel, and the messages that wait to be sent to it. It lives as long as the
    :meth:`Broadcaster.serve` that made it.

    Attributes:
        why: the reason for the end of the client, after it has ended.
    """

    def __init__(self, channel: abc.MessageChannel) -> None:
        self.channel = channel
        self.waiting: deque[bytes] = deque()
        self.why = "unsubscribed"
        self.is_slow = False
        self.ended = trio.Event()
        self._leaves = False
        # A cancellation from outside does not reach the sending, because a part of a message would
        # break the channel. It reaches the watch, which then sets a deadline for the sending.
        self._sending = trio.CancelScope(shield=True)
        self._lot = trio.lowlevel.ParkingLot()

    def put(self, message: bytes) -> None:
        self.waiting.append(message)
        self._lot.unpark()

    def leave(self) -> None:
        """Drops the waiting messages, and ends when the messages that are being sent are sent."""
        self._leaves = True
        self.waiting.clear()
        self._lot.unpark()

    def disconnect(self, why: str) -> None:
        """Ends at once, even in the middle of a message."""
        self.why = why
        self.is_slow = True
        self.leave()
        self._sending.cancel()

    async def run(self) -> None:
        """Sends the queued messages, until the client is removed or the peer has gone."""
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
        # The scope above shields the sending from a cancellation of this task.
        await trio.lowlevel.checkpoint_if_cancelled()

    def _next(self) -> list[bytes]:
        batch = [self.waiting.popleft()]
        size = len(batch[0])
        while self.waiting and (size := size + len(self.waiting[0])) <= _AT_ONCE:
            batch.append(self.waiting.popleft())
        return batch

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Ends the client when the peer goes. When cancelled, sets a deadline for the sending."""
        try:
            if isinstance(self.channel, Channel):
                await self.channel.wait_for_end()
            await trio.sleep_forever()
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.why = str(error)
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

    Each client has its own queue and its own task, so a client that has stopped reading delays
    neither the other clients nor the sender. ``when_slow`` says what happens when a queue is full.

    Args:
        backlog: how many messages may wait for one client, 1 or more. Messages that are being sent
            do not count. The queues share the message objects.
        when_slow: ``"disconnect"`` closes the channel of a client whose queue is full, so that a
            connected client has never missed a message. ``"drop"`` drops the oldest message in the
            queue, for messages of which only the latest matter; :attr:`dropped_count` counts them.

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
        check_choice("when_slow", when_slow, ("disconnect", "drop"))
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

    async def serve(
        self,
        channel: abc.MessageChannel,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Sends the client all messages that are broadcast from now on, until it has left.

        This method can be used directly as a handler for :func:`ipcpipes.serve_messages`. It
        returns when the client has left or was too slow, when you close the channel, or when
        :meth:`unsubscribe` removes the channel; the logger ``ipcpipes`` logs the reason as one INFO
        line.

        It notices at once that a client has left: while nothing is sent, it watches for the end of
        the client's data, and reads up to 64 KiB ahead for that. The data that it reads is kept
        for :meth:`~ipcpipes.abc.MessageChannel.receive`. Once 64 KiB are waiting to be received,
        only the next send notices the end. A handler that also receives runs this method in a
        second task; while the handler receives, the handler itself notices the end. A client that
        ends its sending half (``send_eof``) and keeps receiving stays in the broadcast.

        When it is cancelled, it removes the client as :meth:`unsubscribe` does, and waits at most
        one second for the messages that are being sent. If the client does not take them by then,
        it has a part of a message, and the channel is broken for sending.

        It cannot tell a client that it was too slow: no framing has a place for a reason, and the
        client does not read. The client gets the end of the channel, or an end inside a message.
        If the client can connect again, the server is still running.

        Args:
            channel: the channel to the client.
            task_status: for ``await nursery.start(news.serve, channel)``, which returns as soon as
                the client gets what is broadcast.

        Raises:
            TypeError: the argument is not a channel of messages.
            trio.BusyResourceError: the channel is in this broadcast already, your program's
                mistake. The client stays in the broadcast.
        """
        if not hasattr(channel, "max_size"):
            raise TypeError(
                f"a broadcast is served to channels, not to {channel!r}; use serve_messages"
            )
        if any(each.channel is channel for each in self._clients):
            raise trio.BusyResourceError(
                f"{channel!r} is in this broadcast already; serve it once, or unsubscribe it first"
            )
        client = _Client(channel)
        self._clients.add(client)
        try:
            task_status.started()
            await client.run()
        finally:
            self._clients.discard(client)
            client.ended.set()
        logger.info("%r has left the broadcast: %s", channel, client.why)
        if client.is_slow:
            if isinstance(channel, Channel):
                channel._disconnected = True
            with trio.CancelScope() as scope:
                scope.cancel()  # it closes all the same, but does not wait for a client to read
                await channel.aclose()
            await trio.lowlevel.checkpoint()

    async def unsubscribe(self, channel: abc.MessageChannel) -> None:
        """Removes a channel from the broadcast; its :meth:`serve` returns.

        The messages that wait for the client are dropped, and those that are being sent are
        completed, so that the channel can be used for other things when this returns. For a channel
        that is not in the broadcast, this is only a checkpoint.

        It waits until the client has taken the messages that are being sent. If it is cancelled,
        the channel is removed anyway, and the sending continues to its end.
        """
        await trio.lowlevel.checkpoint()
        for client in [each for each in self._clients if each.channel is channel]:
            self._clients.discard(client)
            client.leave()
            await client.ended.wait()

    def send_nowait(self, message: Buffer) -> None:
        """Adds the message to every client's queue, and returns at once.

        The messages are sent when other tasks run: a loop that only calls this fills the queues.

        Args:
            message: any bytes-like object, which is copied once.

        Raises:
            ipcpipes.FramingError: one of the channels cannot carry the message
                (``MessageTooLarge``: it is longer than the channel's ``max_size``). Then no client
                gets it.
            TypeError: ``message`` is not a bytes-like object.
        """
        copy = bytes(memoryview(message))
        self._check(copy)
        for client in self._clients:
            if len(client.waiting) < self._backlog:
                client.put(copy)
            elif self._drops:
                client.waiting.popleft()
                client.put(copy)
                self._dropped_count += 1
            else:
                client.disconnect(f"it was too slow: {self._backlog} messages were waiting for it")

    def _check(self, message: bytes) -> None:
        framings: list[Framing] = []
        for client in self._clients:
            channel = client.channel
            if len(message) > channel.max_size:
                raise MessageTooLarge(len(message), channel.max_size)
            # Usually all channels have the same framing.
            if isinstance(channel, MessageChannel) and channel.framing not in framings:
                channel.framing.frame(message)
                framings.append(channel.framing)

    async def send(self, message: Buffer) -> None:
        """Adds the message to every client's queue, and lets other tasks run (a checkpoint). It
        does not wait for clients.

        If it is cancelled, no client gets the message.

        Args:
            message: any bytes-like object, which is copied once.

        Raises:
            What :meth:`send_nowait` raises.
        """
        await trio.lowlevel.checkpoint()
        self.send_nowait(message)
