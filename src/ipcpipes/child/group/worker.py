"""A group from the side of a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio

from ... import _os
from ..._os import Listener, Stream
from ...abc import HasFileno, MessageChannel
from ...abc.uncopied import Uncopied
from ...connections.nursery import unseen_nursery
from ...connections.serving import call_async, handle_client, server_finishing
from ...endpoint import Endpoint
from ...errors import NoParent
from ...framing import Framing, Native
from ...messages.framed import channel_over
from ...security import compile_policy, policy_from_document
from ..parent import adopted_ends
from .talk import check_message

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Worker", "group_worker"]


class Worker(Uncopied):
    """This process, as a worker of an :class:`ipcpipes.WorkerGroup`.

    ``async for message in worker`` yields the group's messages, and ends when the worker has to
    finish: the master has told it to, or the master has ended.

    Attributes:
        number: the number of this worker in the group, from 0. A process that replaces this one has
            the same number.
        listener: accepts the group's clients, in this worker and in the others; ``None`` for a
            group without an endpoint.
        finishing: a :class:`trio.Event` that is set when the worker has to finish and has received
            all its messages. Handlers of clients that would stay connected wait for it.
    """

    _instead = "a Worker represents this process"

    def __init__(
        self,
        number: int,
        channel: MessageChannel,
        listener: Listener[Stream] | None,
        max_descriptors: int,
    ) -> None:
        self.number = number
        self.listener = listener
        self._channel = channel
        self._with_descriptors = max_descriptors > 0
        self.finishing = trio.Event()

    async def send(self, message: bytes | bytearray | memoryview) -> None:
        """Sends a message to the master, which calls the group's ``on_message`` with it.

        A worker that is finishing can send too: the master receives all that was sent before the
        worker ends.

        Args:
            message: 1 byte or more.

        Raises:
            ValueError: the message is empty; ipcpipes uses empty messages as signals.
            And what :meth:`ipcpipes.abc.MessageChannel.send` raises.
        """
        check_message(message)
        await self._channel.send(message)

    async def send_descriptors(
        self,
        message: bytes | bytearray | memoryview,
        descriptors: Sequence[int | HasFileno],
    ) -> None:
        """Sends a message to the master with open descriptors (Windows: handles), for a group that
        was made with ``max_descriptors=``. The descriptors stay yours.

        Args:
            message: 1 byte or more.
            descriptors: 1 to 253 numbers or objects with ``fileno()``.

        Raises:
            What :meth:`send` and :meth:`ipcpipes.abc.MessageChannel.send_descriptors` raise.
        """
        check_message(message)
        await self._channel.send_descriptors(message, descriptors)

    async def receive(self) -> bytes:
        """Returns the next message of the group. Descriptors that came with it are closed.

        Raises:
            trio.EndOfChannel: the worker has to complete its work and end.
            And what :meth:`ipcpipes.abc.MessageChannel.receive` raises.
        """
        message: bytes = (await self._next(with_descriptors=False))[0]
        return message

    async def receive_descriptors(self) -> tuple[bytes, list[int]]:
        """Returns the next message of the group and the descriptors (Windows: handles) that came
        with it, which the caller has to close.

        Raises:
            RuntimeError: the group was made without ``max_descriptors=``.
            And what :meth:`receive` raises.
        """
        message, descriptors = await self._next(with_descriptors=True)
        return message, descriptors

    async def _next(self, with_descriptors: bool) -> Sequence[Any]:
        """Returns the next message, with or without its descriptors; raises EndOfChannel if the
        worker has to finish.
        """
        if self.finishing.is_set():
            await trio.lowlevel.checkpoint()
        else:
            channel = self._channel
            came: Sequence[Any]
            with suppress(trio.EndOfChannel):  # the master has ended
                if with_descriptors:
                    came = await channel.receive_descriptors()
                else:
                    came = (await channel.receive(),)
                if came[0]:
                    return came
            self.finishing.set()
        raise trio.EndOfChannel("the group has told this worker to finish, or has ended")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def serve(
        self,
        handler: Callable[[Stream], Awaitable[object]],
        on_message: Callable[..., Awaitable[object]] | None = None,
    ) -> None:
        """Runs ``handler(stream)`` for each client that this worker accepts, until the worker has
        to finish.

        Then the worker accepts only the clients that have connected already, and returns when the
        last handler has returned. In a handler, :func:`ipcpipes.rpc.serve_connection` tells its
        client to begin no new calls; other handlers can wait for :attr:`finishing`. An exception of
        a handler is logged and ends that one connection, as in :func:`ipcpipes.serve`.

        Args:
            handler: an async function of one stream.
            on_message: called with each message of the group, one after another; in a group with
                ``max_descriptors``, also with the list of the descriptors that came with the
                message, which the function has to close.

        Raises:
            RuntimeError: the group has no endpoint.
            And what ``on_message`` raises.
        """
        listener = self.listener
        if listener is None:
            raise RuntimeError("this group has no endpoint: WorkerGroup(..., endpoint=...)")
        # Handlers see this, because their tasks are started in this context.
        before = server_finishing.set(self.finishing)
        try:
            async with listener, unseen_nursery() as nursery:
                with trio.CancelScope() as accepting:
                    nursery.start_soon(self._heed, on_message, accepting)
                    while True:
                        stream = await listener.accept()
                        nursery.start_soon(handle_client, handler, stream, listener.endpoint)
                for stream in _os.accept_waiting(listener, _MOST_LATE):
                    nursery.start_soon(handle_client, handler, stream, listener.endpoint)
                await listener.aclose()
        finally:
            server_finishing.reset(before)

    async def _heed(
        self,
        on_message: Callable[..., Awaitable[object]] | None,
        accepting: trio.CancelScope,
    ) -> None:
        with_descriptors = on_message is not None and self._with_descriptors
        while True:
            try:
                came = await self._next(with_descriptors)
            except trio.EndOfChannel:
                break
            if on_message is not None:
                await call_async(on_message, *came)
        accepting.cancel()


# A limit, so that a worker ends although clients keep connecting.
_MOST_LATE = 256


@asynccontextmanager
async def group_worker(
    *, framing: Framing | Native | None = None, cancel_on_end: bool = False
) -> AsyncIterator[Worker]:
    """Makes this process a worker of the group that has started it.

    >>> async with ipcpipes.group_worker() as worker:
    ...     await worker.serve(handler)

    Entering the block says that the worker is ready, so it has to prepare everything before that.

    Args:
        framing: the framing of the group. A framing of ipcpipes is known already; a framing of your
            own has to be given.
        cancel_on_end: cancels the block when the master has ended, even if the worker is busy.
            Otherwise, a worker that reads its messages then finishes in order.

    Returns:
        For ``async with``: the :class:`Worker`.

    Raises:
        NoParent: this process was not started by an :class:`ipcpipes.WorkerGroup`.
        TypeError: ``framing`` is not a framing, or has to be given.
        OSError: this process cannot listen (Windows: no instance of the pipe can be made).
    """
    async with (
        adopted_ends("channel", cancel_on_end, framing) as adopted,
        adopted.channel(channel_over) as channel,
    ):
        group = adopted.handover.group
        if group is None:
            raise NoParent("this process was started by open_child, not by a WorkerGroup")
        listener = _listener(group, adopted.handover.handles)
        try:
            with suppress(trio.BrokenResourceError):  # the master has ended: there is no work
                await channel.send(b"")
            yield Worker(group["number"], channel, listener, adopted.handover.max_descriptors)
        finally:
            if listener is not None:
                with trio.CancelScope(shield=True):
                    await listener.aclose()


def _listener(group: Mapping[str, Any], handles: Mapping[str, Any]) -> Listener[Stream] | None:
    if group["endpoint"] is None:
        return None
    handle = handles.get("listener")
    return _os.join_shared(
        Endpoint(*group["endpoint"]),
        None if handle is None else handle.number,
        compile_policy(policy_from_document(group["access"]), "duplex"),
        group["backlog"],
    )
