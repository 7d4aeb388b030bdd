"""The client's side of an operation that yields, without an event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import trio

from ...abc.uncopied import Uncopied
from ..core.client import ClientOperationBase
from ..core.feeding import require_all_flows
from ..definition.streams import RESULT
from ..errors import CallTimedOut
from .client_link import ClientLink
from .handle import CallHandle
from .streams import InStream

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["IteratedOperation", "ResultIterator"]

P = ParamSpec("P")
T = TypeVar("T")


class ResultIterator(Uncopied, Iterator[T]):
    """What an operation yields: ``for change in folder.watch("."):``.

    The call begins with the first value, and ends with the last one. Leaving the loop early ends
    the call, too, as soon as nothing refers to the iterator any more (if it is part of a reference
    cycle, after the next garbage collection): the server's manager is cancelled, or, if it runs in
    a thread, its generator is closed at its next ``yield``. To have that happen at a definite
    place, use a block: ``with contextlib.closing(folder.watch(".")) as changes:``.

    Only one thread may iterate at a time.
    """

    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(self, handle: CallHandle[None]) -> None:
        self._handle = handle
        self._values: InStream[T] | None = None
        self._is_over = False
        self._guard = threading.Lock()
        self._is_busy = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Waits for the next value.

        Raises:
            StopIteration: the manager has returned, or this iterator was closed before.
            trio.BusyResourceError: another thread is waiting for the next value.
            rpc.InvalidAsyncHandle, trio.ClosedResourceError: another thread has closed this
                iterator meanwhile.
            And what a call raises; see :class:`ClientOperation`.
        """
        is_mine = False
        try:
            with self._guard:
                if self._is_busy:
                    raise trio.BusyResourceError("another thread is waiting for the next value")
                self._is_busy = is_mine = True
            return self._next()
        finally:
            if is_mine:
                self._is_busy = False

    def _next(self) -> T:
        if self._is_over:
            raise StopIteration
        try:
            if self._values is None:
                self._handle.__enter__()
                self._values = self._handle.streams[RESULT]
            return self._values.receive()
        except trio.EndOfChannel:
            try:
                self._handle.complete()
            finally:
                self.close()
            raise StopIteration from None
        except CallTimedOut:
            self.close()
            raise self._handle._of._too_long() from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the call, if it has not ended. Idempotent."""
        has_begun = self._values is not None and not self._is_over
        self._is_over = True
        if has_begun:
            self._handle.__exit__(None, None, None)

    def __del__(self) -> None:
        if self._is_over or self._values is None:
            return
        driver = self._handle._driver
        # The garbage collector may run in a step of the connection, whose thread has the lock.
        if driver.link.lock.acquire(blocking=False):
            driver.link.lock.release()
            driver.leave()
        else:
            driver.link.notice(driver.leave)


class IteratedOperation(ClientOperationBase[ClientLink], Generic[P, T]):
    """An operation of the server that yields: iterate over what a call returns.

    For a type checker, an attribute of a client is the method of the interface;
    :func:`operation_of` returns it as what it is.
    """

    _has_loop = False

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> ResultIterator[T]:
        """Calls the operation: ``for change in folder.watch("."):``.

        Args:
            arguments, named: the arguments that the interface declares; see
                :class:`ClientOperation`.

        Returns:
            An iterator. The call begins with the first value.

        Raises:
            TypeError: an argument is missing or unknown. Other errors come with the first value.
        """
        begun = self._beginning(arguments, named)
        require_all_flows(self._operation, begun[2])
        return ResultIterator(CallHandle(*begun))

    def begin(self, *arguments: Any, **named: Any) -> CallHandle[None]:
        """Makes a handle to drive a call by hand: ``with folder.watch.begin(".") as call:``.

        Args:
            arguments, named: as for a call. Streams that have an argument are filled and emptied
                while a thread waits; the others are ``call.streams["name"]``, and what the
                operation yields is ``call.streams["return"]``.

        Returns:
            For ``with``: a :class:`CallHandle`.

        Raises:
            TypeError: the same errors as for a call.
        """
        return CallHandle(*self._beginning(arguments, named))
