"""The client's side of an operation that yields, under trio."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import trio

from ...abc.uncopied import Uncopied
from ..core.client import ClientOperationBase
from ..core.feeding import require_all_flows
from ..definition.streams import RESULT
from ..errors import RpcError
from .client_link import ClientLink
from .handle import CallHandle
from .streams import ReceiveEnd

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["IteratedOperation", "ResultIterator"]

P = ParamSpec("P")
T = TypeVar("T")


class ResultIterator(Uncopied, AsyncIterator[T]):
    """What an operation yields: ``async for change in folder.watch("."):``.

    The call begins with the first value, and ends with the last one. Leaving the loop early ends
    the call, too: the server's manager is cancelled, as soon as nothing refers to the iterator any
    more (if it is part of a reference cycle, after the next garbage collection). To have that
    happen at a definite place, use a block: ``async with contextlib.aclosing(folder.watch(".")) as
    changes:``.

    Cancelling the wait for a value loses nothing, and does not end the call. Only one task may
    iterate at a time.
    """

    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(self, make_handle: Callable[[], CallHandle[None]]) -> None:
        self._make_handle = make_handle
        self._handle = make_handle()
        self._values: ReceiveEnd | None = None
        self._is_over = False
        self._is_busy = False
        self._token = trio.lowlevel.current_trio_token()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Waits for the next value.

        Raises:
            StopAsyncIteration: the manager has returned, or this iterator was closed before.
            trio.BusyResourceError: another task is waiting for the next value.
            rpc.InvalidAsyncHandle: another task has closed this iterator meanwhile.
            And what a call raises; see :class:`ClientOperation`.
        """
        if self._is_busy:
            await trio.lowlevel.checkpoint()
            raise trio.BusyResourceError("another task is waiting for the next value")
        if self._is_over:
            await trio.lowlevel.checkpoint()
            raise StopAsyncIteration
        self._is_busy = True
        try:
            return await self._next()
        finally:
            self._is_busy = False

    async def _next(self) -> T:
        try:
            if self._values is None:
                await self._begin()
            value: T = await self._receive()
        except trio.EndOfChannel:
            await self._complete()
            raise StopAsyncIteration from None
        except trio.Cancelled:
            raise  # the next value may be awaited later
        except BaseException as error:
            await self.aclose()
            # If a source has failed, the call was given up for that reason.
            cause = self._handle._pump_error
            if cause is None or not isinstance(error, RpcError):
                raise
            raise cause from None
        return value

    async def _begin(self) -> None:
        try:
            await self._handle.__aenter__()
        except trio.Cancelled:
            # The call has not begun; it may begin with the next attempt.
            self._handle = self._make_handle()
            raise
        except BaseException:
            self._is_over = True
            raise
        self._values = self._handle.streams[RESULT]

    async def _receive(self) -> Any:
        assert self._values is not None
        deadline = self._handle._deadline
        if deadline == math.inf or self._values._is_ready:
            # What has arrived in time is not lost if it is taken later.
            return await self._values.receive()
        with trio.CancelScope(deadline=deadline) as scope:
            value = await self._values.receive()
        if scope.cancelled_caught:
            self._handle._fail_too_long()
        return value

    async def _complete(self) -> None:
        try:
            await self._handle.complete()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Ends the call, if it has not ended. Idempotent."""
        has_begun = self._values is not None and not self._is_over
        self._is_over = True
        if has_begun:
            await self._handle.__aexit__(None, None, None)
        else:
            await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        if self._is_over or self._values is None:
            return
        # The garbage collector runs in any thread, and at any point of this one.
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._handle._drop)


class IteratedOperation(ClientOperationBase[ClientLink], Generic[P, T]):
    """An operation of the server that yields: iterate over what a call returns.

    For a type checker, an attribute of a client is the method of the interface;
    :func:`operation_of` returns it as what it is.
    """

    _has_loop = True

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> ResultIterator[T]:
        """Calls the operation: ``async for change in folder.watch("."):``.

        Args:
            arguments, named: the arguments that the interface declares; see
                :class:`ClientOperation`.

        Returns:
            An asynchronous iterator. The call begins with the first value.

        Raises:
            TypeError: an argument is missing or unknown. Other errors come with the first value.
        """
        begun = self._beginning(arguments, named)
        require_all_flows(self._operation, begun[2])
        return ResultIterator(partial(CallHandle, *begun))

    def begin(self, *arguments: Any, **named: Any) -> CallHandle[None]:
        """Makes a handle to drive a call by hand: ``async with folder.watch.begin(".") as call:``.

        Args:
            arguments, named: as for a call. Streams that have an argument are filled and emptied
                automatically; the others are ``call.streams["name"]``, and what the operation
                yields is ``call.streams["return"]``.

        Returns:
            For ``async with``: a :class:`CallHandle`.

        Raises:
            TypeError: the same errors as for a call.
        """
        return CallHandle(*self._beginning(arguments, named))
