"""The asynchronous handle of a call that its user drives by hand."""

from __future__ import annotations

import math
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from ..core.client import CallHandleBase
from ..errors import AsyncCallPending, InvalidAsyncHandle, RpcError
from .calling import ClientCallDriver, begin_call
from .client_link import ClientLink
from .feeding import run_flows
from .pipes import end_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CallHandle"]

R = TypeVar("R")

_moved_for: ContextVar[tuple[CallHandle[Any], ...]] = ContextVar(
    "ipcpipes.rpc.moved_for", default=()
)
"""The calls whose pipes and streams this task moves."""


class CallHandle(CallHandleBase[ClientLink, ClientCallDriver], Generic[R]):
    """A call that was begun: ``async with acc.total.begin(2) as call: ...``.

    A handle is for one call, and is over after the call was completed. Leaving the block before
    that gives the call up.

    Attributes:
        pipes: the pipes that are driven by hand, by their names: one towards the server to ``push``
            into and ``close``, one towards the client to ``pull`` from or iterate; see
            :class:`ipcpipes.rpc.OutPipe` and :class:`ipcpipes.rpc.InPipe`. Their turns are the same
            as at the server.
        streams: the streams that are driven by hand, by their names: one towards the server to
            ``send`` into and ``aclose``, one towards the client to ``receive`` from or iterate; see
            :class:`ipcpipes.rpc.OutStream` and :class:`ipcpipes.rpc.InStream`. What the operation
            yields is ``streams["return"]``. Receive all values before :meth:`complete`, which ends
            the call.
    """

    def __init__(self, *begun: Any) -> None:
        super().__init__(*begun)
        self._deadline = math.inf
        self._pumping: trio.CancelScope | None = None
        self._pumped = trio.Event()
        self._pump_error: BaseException | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        self._begin_once()
        of = self._of
        if of._timeout is not None:
            self._deadline = trio.current_time() + of._timeout
        # A scope may be around only a part of an iteration, so that it is not the call's.
        deadline = self._deadline if self._operation.yields else None
        with trio.CancelScope(deadline=self._deadline):
            self._given_driver = await begin_call(
                of._link,
                self._operation,
                self._values,
                of._notify,
                of._metadata.encoded,
                deadline,
            )
        if self._given_driver is None:
            raise of._too_long()
        driver = self._given_driver
        driver.link.have_read()
        driver.others = frozenset(
            (into, pipe.index)
            for pipe in self._operation.pipes
            if pipe in self._feeds
            for into in (True, False)
            if (pipe.into if into else pipe.out)
        )
        self._make_ends(end_of)
        if self._feeds:
            self._pumping = trio.CancelScope()
            driver.link.start_soon(self._pump)
        return self

    async def _pump(self) -> None:
        """Fills and empties the pipes and streams that have an argument, while the user drives the
        others.

        :meth:`complete`, which ends the call, raises the errors of this task.
        """
        assert self._pumping is not None
        _moved_for.set((*_moved_for.get(), self))
        try:
            with self._pumping:
                await run_flows(self._driver, self._feeds)
        except Exception as error:
            # An error that ended the call is in its answer.
            if self._driver.call.failure is None or not isinstance(error, RpcError):
                self._pump_error = error
                self._driver.abandon()
        finally:
            self._pumped.set()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._driver.leave()
        if self._pumping is not None:
            self._pumping.cancel()
            # A source or a sink that leaves its own call would wait for itself.
            if self not in _moved_for.get():
                with trio.CancelScope(shield=True):
                    await self._pumped.wait()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _drop(self) -> None:
        """Gives the call up, without waiting for anything."""
        self._driver.leave()
        if self._pumping is not None:
            self._pumping.cancel()

    async def complete(self) -> R:
        """Waits until the call is over; this can be done once. A call is not over before the pipes
        that are driven by hand have ended.

        Returns:
            What the manager returned.

        Raises:
            rpc.RpcError: the same errors as for a call.
            rpc.CallCancelled: the call was cancelled.
            rpc.CallTimedOut: the call took longer than its ``timeout``.
            rpc.InvalidAsyncHandle: the call was completed before.
            And any exception of a file or function that is the argument of a pipe.
        """
        try:
            self._require_live()
        except InvalidAsyncHandle:
            await trio.lowlevel.checkpoint()
            raise
        with trio.CancelScope(deadline=self._deadline):
            await self._driver.answered()
        if not self._driver.call.has_ended:
            self._fail_too_long()
        if self._pumping is not None and self._driver.call.failure is None:
            await self._pumped.wait()
        result: R = self._result()
        return result

    def complete_nowait(self) -> R:
        """Does the same as :meth:`complete`, without waiting.

        Raises:
            rpc.AsyncCallPending: the call is not over; try again later.
            And what :meth:`complete` raises.
        """
        self._require_live()
        pumping = self._pumping is not None and not self._pumped.is_set()
        if not self._driver.call.has_ended or (pumping and self._driver.call.failure is None):
            raise AsyncCallPending
        result: R = self._result()
        return result

    def _result(self) -> Any:
        if self._pump_error is not None:
            self._driver.leave()
            raise self._pump_error
        return super()._result()
