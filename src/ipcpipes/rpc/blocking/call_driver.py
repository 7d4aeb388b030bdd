"""One call at one end, for threads that wait for its pipes and its answer."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ...options import checked_seconds
from ..core.call import Call
from ..core.call_pipes import SMALL, Push
from ..core.events import CallEvent
from ..core.stream_call import StreamCall
from ..errors import BadStubData, CallTimedOut
from ..wire.chunks import bytes_of, chunk_of
from ..wire.ndr import LARGEST_COUNT
from .reading import ring
from .sending import REFUSED
from .transport import torn

if TYPE_CHECKING:
    from ..definition.streams import Stream
    from .link import Link

__all__ = ["CallDriver", "time_of"]

T = TypeVar("T")


class CallDriver:
    """Waits where :class:`Call` only says that an operation cannot continue now.

    Attributes:
        call: set by :meth:`adopt`.
        waiters: the locks of the threads that wait for something of this call.
        taken: see :meth:`take`.
        deadline: the time at which the call expires, on the clock of :func:`time.monotonic`;
            ``None`` for no limit.
    """

    call: Call
    _pumps: Mapping[tuple[bool, int], object] = {}  # a client's, for pipes with an argument

    def __init__(self, link: Link, deadline: float | None = None) -> None:
        self.link = link
        self.deadline = deadline
        self.waiters: list[threading.Lock] = []
        self._busy: dict[tuple[str, int], None] = {}
        # The pipes whose elements were taken, and were not returned to the user yet.
        self.taken: dict[int, None] = {}

    def adopt(self, call: Call) -> None:
        """Makes this driver the owner of ``call``."""
        self.call = call
        call.owner = self

    # These methods are called with the lock.

    def wake(self) -> None:
        for waiter in self.waiters:
            ring(waiter)

    def stop(self) -> None:
        pass  # a thread cannot be cancelled

    def notify(self, event: CallEvent) -> None:
        pass  # a client's driver overrides this

    def _move_up_to(self, index: int, *, into: bool) -> None:
        """At a client: fills and empties the pipes before this one that have an argument."""

    def expire(self) -> None:
        """Fails the call, because its time is over."""
        error = CallTimedOut()
        with self.link.lock:
            self.call.lose(error)
        raise (self.call.failure or error).again()  # the call may have failed before

    def pull(self, index: int, max_elements: int | None, timeout: float | None = None) -> Any:
        """Does what :meth:`ipcpipes.rpc.InPipe.pull` describes."""
        if self._pumps:
            self._move_up_to(index, into=False)
        until = time_of(timeout, self.deadline)
        octets = self._alone("pulling from", index, self.take, index, max_elements, until)
        if octets is not None:
            chunk = chunk_of(octets, self.call.operation.pipes[index].element)
            # From here to the user nothing is called, so that no signal handler can run.
            del self.taken[index]
            return chunk
        if timeout is None or (self.deadline is not None and until == self.deadline):
            self.expire()
        raise TimeoutError(f"nothing arrived for {self.name(index)} within {timeout:g} s")

    def take(self, index: int, max_elements: int | None, until: float | None) -> memoryview | None:
        """Returns octets, as :meth:`Call.pull` does, or ``None`` when the time is over. After the
        user has got the octets, the caller deletes the pipe from :attr:`taken`.

        Raises:
            BadStubData: an exception interrupted the last take before that deletion.
            CommFailure: an exception came in the middle of a step of the connection.
            And what :meth:`Call.pull` raises.
        """
        limit = LARGEST_COUNT if max_elements is None else max_elements
        link, call, taken = self.link, self.call, self.taken

        def pull() -> memoryview | None:
            if link.was_torn:
                raise torn()
            if index in taken:
                raise BadStubData(
                    f"an earlier pull from {self.name(index)} was interrupted, and its elements "
                    "are lost"
                )
            link.is_torn = True
            taken[index] = None
            try:
                octets = call.pull(index, limit)
            except REFUSED:
                del taken[index]
                raise
            link.is_torn = False
            if octets is None:
                del taken[index]
            return octets

        return link.wait(pull, self, until, sliced=True)

    # Streams

    def wait_batch(self, index: int, until: float | None) -> bytes | memoryview | None:
        """Waits for values of a stream, or until this end has closed it. Returns them encoded, or
        nothing at the end of the stream; ``None`` when the time is over.

        Raises:
            RpcError: what :meth:`StreamCall.values_of` raises.
        """

        def attempt() -> tuple[bytes | memoryview] | None:
            batch = self.batch_of(index)
            return None if batch is None else (batch,)

        found = self.link.wait(attempt, self, until, sliced=True)
        return None if found is None else found[0]

    def batch_of(self, index: int) -> bytes | memoryview | None:
        """Does the same without waiting. It is called with the lock."""
        call, link = self._streams, self.link
        if link.was_torn:
            raise torn()
        if call.incoming[index].closed:
            return b""
        link.is_torn = True
        call.require_receiving()
        found = call.values_of(index)
        link.is_torn = False
        return found

    def wait_credit(self, stream: Stream, until: float | None) -> bool:
        """Waits until another value may be sent, or the stream accepts none any more. Returns
        whether that was in time.
        """
        outgoing = self._streams.outgoing[stream.index]

        def may_send() -> bool | None:
            call = self._streams
            is_over = call.has_ended or call.over or outgoing.stopped or outgoing.closed
            return is_over or outgoing.admits(0) or None

        return self.link.wait(may_send, self, until, sliced=True) is not None

    @property
    def _streams(self) -> StreamCall:
        assert isinstance(self.call, StreamCall)
        return self.call

    # Pipes

    def push(self, index: int, elements: object) -> None:
        """Does what :meth:`ipcpipes.rpc.OutPipe.push` describes."""
        if self._pumps:
            self._move_up_to(index, into=True)
        element = self.call.operation.pipes[index].element
        octets = bytes_of(elements, element)
        push = Push(octets, len(octets) // element.stride)
        if not self._alone("pushing into", index, self.put, index, push, self.deadline):
            self.expire()

    def put(self, index: int, push: Push, until: float | None) -> bool:
        """Continues a push. Returns whether it was completed in time."""
        call, link = self.call, self.link
        octets = push.octets
        if push.position == 0:
            with link.lock:
                # Whether a push is allowed does not depend on whether it has elements.
                call.check_push(index, push.count or None)

        def push_small() -> bool:
            if not call.push_small(index, octets):
                return False
            push.position = len(octets)
            return True

        is_small = len(octets) <= SMALL and not link.is_full and not push.done
        if is_small and link.step(push_small):
            link.flush(until=until, call=call)
            return True
        waiter = threading.Lock()

        def go_on() -> bool | None:
            takes_memory = link.takes_memory
            link.is_torn = True
            if takes_memory:
                parts = call.push_in_place(index, push)
                if parts is not None:
                    link.lend(waiter, *parts)
                went = parts is not None
            else:
                went = call.push_some(index, push)
            link.is_torn = False
            return went or None

        while not push.done:
            if not link.wait_room(until, call):
                return False
            try:
                if link.wait(go_on, self, until, sliced=True) is None:
                    return False
                link.flush(waiter, until=until, call=call)
            except BaseException:
                link.withdraw(waiter)
                raise
        return True

    def push_nowait(self, index: int, elements: object) -> None:
        """Does what :meth:`ipcpipes.rpc.OutPipe.push_nowait` describes."""
        call, link = self.call, self.link
        element = call.operation.pipes[index].element
        octets = bytes_of(elements, element)
        if len(octets) > SMALL:
            raise ValueError(f"push_nowait takes up to {SMALL:,} bytes; use push() for more")

        def try_push() -> bool:
            call.check_push(index, len(octets) // element.stride or None)
            return not octets or (not link.is_full and call.push_small(index, octets))

        def push_once() -> None:
            if not link.step(try_push):
                link.look()
                if not link.step(try_push):
                    raise trio.WouldBlock
            link.flush(wait=False)

        self._alone("pushing into", index, push_once)

    def close(self, index: int) -> None:
        """Does what :meth:`ipcpipes.rpc.OutPipe.close` describes."""
        if self._pumps:
            self._move_up_to(index, into=True)
        if not self._alone("pushing into", index, self.end, index, self.deadline):
            self.expire()

    def end(self, index: int, until: float | None) -> bool:
        """Ends the pipe. Returns whether that was possible in time."""
        call, link = self.call, self.link

        def try_close() -> bool | None:
            call.check_push(index, None)
            link.is_torn = True
            closed = call.close_pipe(index)
            link.is_torn = False
            return closed or None

        ended = link.wait(try_close, self, until, sliced=True)
        link.flush(until=until, call=call)
        return ended is not None

    def _alone(self, doing: str, index: int, action: Callable[..., T], *arguments: object) -> T:
        """Runs the action, which only one thread at a time may do with this pipe."""
        key = (doing, index)
        mine = False
        try:
            with self.link.lock:
                if key in self._busy:
                    raise trio.BusyResourceError(f"another thread is {doing} {self.name(index)}")
                self._busy[key] = None
                mine = True
            return action(*arguments)
        finally:
            if mine:
                del self._busy[key]

    def name(self, index: int) -> str:
        return f"the pipe {self.call.operation.pipes[index].name}"


def time_of(timeout: float | None, deadline: float | None = None) -> float | None:
    """Returns the earlier of the two ends, on the clock of :func:`time.monotonic`; ``None`` for no
    limit.

    Raises:
        TypeError, ValueError: ``timeout`` is not a number of seconds, 0 or more.
    """
    if timeout is None:
        return deadline
    until = time.monotonic() + checked_seconds("timeout", timeout)
    if until == math.inf:
        return deadline
    return until if deadline is None else min(until, deadline)
