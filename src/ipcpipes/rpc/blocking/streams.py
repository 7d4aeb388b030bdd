"""The ends of a call's streams without an event loop; their classes are types of parameters too."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from ...abc.uncopied import Uncopied
from ..core.call_streams import closed_text, decoded
from ..core.stream_call import StreamCall
from ..definition.stream_types import StreamType
from .call_driver import time_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..definition.streams import Stream
    from .call_driver import CallDriver

__all__ = ["LOOK", "InStream", "OutStream"]

T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

# How often a thread that only sends reads what has arrived: the peer may need no more values, or
# the call may have failed. A look after each value would cost a system call for each.
LOOK = 0.05  # seconds


class StreamEnd(Uncopied):
    """One end of a stream."""

    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(self, driver: CallDriver, stream: Stream) -> None:
        assert isinstance(driver.call, StreamCall)
        self._driver = driver
        self._call = driver.call
        self._stream = stream
        self._guard = threading.Lock()
        self._is_busy = False

    def _busy(self, doing: str) -> trio.BusyResourceError:
        name = self._stream.name
        return trio.BusyResourceError(f"another thread is {doing} the stream {name}")

    @contextmanager
    def _alone(self, doing: str) -> Iterator[None]:
        """Runs the block, which only one thread at a time may do."""
        is_mine = False
        try:
            with self._guard:
                if self._is_busy:
                    raise self._busy(doing)
                self._is_busy = is_mine = True
            yield
        finally:
            if is_mine:
                self._is_busy = False

    def __repr__(self) -> str:
        return f"<ipcpipes rpc stream {self._stream.name} of {self._call.operation}>"


class InStream(StreamEnd, StreamType, Generic[T_co], implementation=True):
    """An end to receive from: a manager's end of a stream towards the server, or a client's end of
    a stream towards the client. See :class:`ipcpipes.rpc.InStream`; threads take the place of
    tasks.

    In an interface, it means the same as :class:`ipcpipes.rpc.InStream`, and a type checker knows
    that a manager receives without ``await``: ``lines: rpc.blocking.InStream[str]``.
    """

    _into = True

    def receive(self, *, timeout: float | None = None) -> T_co:
        """Waits for the next value.

        Args:
            timeout: seconds, 0 or more; ``None`` waits without limit.

        Raises:
            TimeoutError: no value has arrived in time.
            trio.BusyResourceError: another thread is receiving from this stream.
            And what :meth:`ipcpipes.rpc.InStream.receive` raises.
        """
        # Not by _alone: a signal handler could raise at the end of its block, after the value was
        # taken.
        is_mine = False
        try:
            with self._guard:
                if self._is_busy:
                    raise self._busy("receiving from")
                self._is_busy = is_mine = True
            self._wait_value(timeout)
            values = self._call.incoming[self._stream.index].values
            value: T_co = values[0]
            # From here to the user nothing is called, so that no signal handler can run.
            del values[0]
            return value
        finally:
            if is_mine:
                self._is_busy = False

    def receive_many(self, *, timeout: float | None = None) -> list[T_co]:
        """Waits for values, and returns those that have arrived, 1 or more.

        Args:
            timeout: seconds, 0 or more; ``None`` waits without limit.

        Raises:
            What :meth:`receive` raises.
        """
        is_mine = False
        try:
            with self._guard:
                if self._is_busy:
                    raise self._busy("receiving from")
                self._is_busy = is_mine = True
            self._wait_value(timeout)
            incoming = self._call.incoming[self._stream.index]
            taken, rest = [*incoming.values], deque[Any]()
            # As in receive(); this thread is the only one that adds values.
            incoming.values = rest
            return taken
        finally:
            if is_mine:
                self._is_busy = False

    def __iter__(self) -> Self:
        """``for value in stream`` receives to the end."""
        return self

    def __next__(self) -> T_co:
        try:
            return self.receive()
        except trio.EndOfChannel:
            raise StopIteration from None

    def close(self) -> None:
        """Leaves the stream: the other end stops sending, and values that have arrived are dropped.
        The call continues. Idempotent.
        """
        self._driver.link.do(lambda: self._call.leave_stream(self._stream.index))

    def _wait_value(self, timeout: float | None) -> None:
        """Waits until a value is there to be taken."""
        driver, call, index = self._driver, self._call, self._stream.index
        incoming = call.incoming[index]
        if not incoming.closed:
            call.require_receiving()
            if incoming.values:
                return
        until = time_of(timeout, driver.deadline)
        while not incoming.values:
            batch = None if incoming.closed else driver.wait_batch(index, until)
            if incoming.closed:
                raise trio.ClosedResourceError(closed_text(self._stream))
            if batch is not None and not batch:
                raise trio.EndOfChannel(f"the stream {self._stream.name} has ended")
            if batch is None:
                if timeout is None or (driver.deadline is not None and until == driver.deadline):
                    driver.expire()
                raise TimeoutError(
                    f"nothing arrived for the stream {self._stream.name} within {timeout:g} s"
                )
            # This runs code of the user's classes, and so without the lock. If it is interrupted,
            # the next receive decodes the batch again.
            found = decoded(self._stream, batch)
            driver.link.do(partial(call.took, index, batch, *found))


class OutStream(StreamEnd, StreamType, Generic[T_contra], implementation=True):
    """An end to send into; see :class:`ipcpipes.rpc.OutStream`, which means the same in an
    interface.
    """

    _into = False

    def __init__(self, driver: CallDriver, stream: Stream) -> None:
        super().__init__(driver, stream)
        self._looked = time.monotonic()

    def send(self, value: T_contra) -> None:
        """Sends a value. It waits while the peer or the connection accepts no more. If a signal
        handler raises an exception in the meantime, the value was sent once or not at all.

        Raises:
            trio.BusyResourceError: another thread is sending into this stream.
            And what :meth:`ipcpipes.rpc.OutStream.send` raises.
        """
        with self._alone("sending into"):
            self._put(value)
            self._flush()

    def send_many(self, values: Iterable[T_contra]) -> None:
        """Sends several values together. For many small values this takes much less time than
        :meth:`send`.

        Raises:
            What :meth:`send` raises.
        """
        with self._alone("sending into"):
            self._check()
            try:
                for value in values:
                    self._put(value)
            finally:
                self._flush()

    def send_nowait(self, value: T_contra) -> None:
        """Sends a value without waiting. Over a stream of another library it may wait.

        Raises:
            trio.WouldBlock: the peer or the connection accepts no more; nothing was sent.
            And what :meth:`send` raises.
        """
        driver, octets = self._driver, self._stream.encode(value)
        with self._alone("sending into"):
            if not self._try(octets):
                driver.link.look()
                if not self._try(octets):
                    raise trio.WouldBlock
            driver.link.flush(wait=False)

    def close(self) -> None:
        """Ends the stream. The call continues. Idempotent."""
        self._driver.link.do(lambda: self._call.end_stream(self._stream.index))

    def _put(self, value: Any) -> None:
        """Collects a value, and sends what was collected if it is much."""
        driver, link = self._driver, self._driver.link
        octets = self._stream.encode(value)
        until = driver.deadline
        while not self._try(octets):
            self._flush()
            if not (link.wait_room(until, self._call) and driver.wait_credit(self._stream, until)):
                driver.expire()
        if self._call.has_batch(self._stream.index):
            self._flush()

    def _try(self, octets: bytes) -> bool:
        """Collects an encoded value, if the peer and the connection accept it now."""
        call, link, index = self._call, self._driver.link, self._stream.index
        outgoing = call.outgoing[index]
        self._check()
        # Another thread may close it in the meantime.
        return not link.is_full and link.step(
            lambda: not outgoing.closed and call.send(index, octets)
        )

    def _check(self) -> None:
        """Raises:
        ClosedResourceError: this end was closed.
        RpcError: what :meth:`StreamCall.require_sending` raises.
        """
        index = self._stream.index
        if self._call.outgoing[index].closed:
            raise trio.ClosedResourceError(closed_text(self._stream))
        self._call.require_sending(index)

    def _flush(self) -> None:
        link = self._driver.link
        link.flush(until=self._driver.deadline, call=self._call)
        now = time.monotonic()
        if now - self._looked > LOOK:
            self._looked = now
            link.look()
