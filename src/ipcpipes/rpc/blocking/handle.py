"""The handle of a call that its user drives by hand, without an event loop."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from ..core.arguments import encode_arguments
from ..core.client import CallHandleBase
from ..errors import AsyncCallPending
from .call_driver import time_of
from .calling import ClientCallDriver
from .client_link import ClientLink
from .pipes import end_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CallHandle"]

R = TypeVar("R")


class CallHandle(CallHandleBase[ClientLink, ClientCallDriver], Generic[R]):
    """A call that was begun: ``with acc.total.begin(2) as call: ...``.

    A handle is for one call, and is over after the call was completed. Leaving the block before
    that gives the call up. Several threads may use it: one pushes, another one pulls, a third one
    cancels.

    No thread works in the background. So a thread that waits here fills and empties the pipes and
    streams that have an argument: in :meth:`complete`, in an operation on a pipe that comes after
    them, and while it receives from a stream.

    Attributes:
        pipes: the pipes that are driven by hand, by their names: one towards the server to ``push``
            into and ``close``, one towards the client to ``pull`` from or iterate; see
            :class:`InPipe` and :class:`OutPipe`. Their turns are the same as at the server.
        streams: the streams that are driven by hand, by their names: one towards the server to
            ``send`` into and ``close``, one towards the client to ``receive`` from or iterate; see
            :class:`OutStream` and :class:`InStream`. What the operation yields is
            ``streams["return"]``. Receive all values before :meth:`complete`, which ends the call.
    """

    def __enter__(self) -> Self:
        self._begin_once()
        of = self._of
        driver = ClientCallDriver(of._link, time_of(of._timeout), of._notify)
        try:
            octets = encode_arguments(self._operation, self._values)
            if not driver.begin(self._operation, octets, of._metadata.encoded):
                raise of._too_long()
            self._given_driver = driver
            driver.give(self._feeds)
            self._make_ends(end_of)
        except BaseException:
            driver.leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._driver.leave()

    def complete(self, *, timeout: float | None = None) -> R:
        """Waits until the call is over; this can be done once. A call is not over before the pipes
        that are driven by hand have ended.

        Args:
            timeout: seconds, 0 or more, after which this raises TimeoutError, and can be called
                again; ``None`` waits without limit.

        Returns:
            What the manager returned.

        Raises:
            TimeoutError: the call is not over by then. It continues.
            rpc.RpcError: the same errors as for a call.
            rpc.CallCancelled: the call was cancelled.
            rpc.CallTimedOut: the call took longer than its own ``timeout``, and is over. This is a
                TimeoutError, too.
            rpc.InvalidAsyncHandle: the call was completed before.
            And whatever a file or function that was given for a pipe has raised.
        """
        self._require_live()
        until = time_of(timeout, self._driver.deadline)
        if self._goes_on(until):
            result: R = self._result()
            return result
        raise TimeoutError(f"{self._operation} is not over within {timeout:g} s")

    def _goes_on(self, until: float | None) -> bool:
        """Fills and empties the pipes that have an argument, and waits for the end of the call.
        Returns whether the end has come in time.

        Raises:
            CallTimedOut: the call took longer than its own ``timeout``.
            And whatever a file or function that was given for a pipe has raised.
        """
        driver = self._driver
        try:
            while (in_time := driver.move(until)) and not driver.call.has_ended:
                # Another thread may still use the pipes before those that have an argument.
                in_time = driver.answered(until, sliced=True)
                if not in_time:
                    break
        except Exception:
            driver.leave()
            raise
        if not in_time and until == driver.deadline:
            self._fail_too_long()
        return in_time

    def complete_nowait(self) -> R:
        """Does the same as :meth:`complete`, without waiting. Pipes that have an argument are
        filled and emptied as far as possible.

        Raises:
            rpc.AsyncCallPending: the call is not over; try again later.
            And what :meth:`complete` raises.
        """
        self._require_live()
        if self._goes_on(time_of(0, self._driver.deadline)):
            result: R = self._result()
            return result
        raise AsyncCallPending
