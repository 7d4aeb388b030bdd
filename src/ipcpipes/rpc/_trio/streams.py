"""The ends of a call's streams, for managers, and for clients that drive the streams by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from ...abc.uncopied import Uncopied
from ..core.call_streams import closed_text, decoded
from ..core.stream_call import StreamCall
from .call_driver import CallDriver
from .stream_types import InStream, OutStream

if TYPE_CHECKING:
    from ..definition.streams import Stream

__all__ = ["END", "ReceiveEnd", "SendEnd", "next_of"]

# KeyboardInterrupt is raised where an operation waits, and not between its steps.
_ki_protected = trio.lowlevel.enable_ki_protection
# Looked up once: it is called for every value.
_shielded_checkpoint = trio.lowlevel.cancel_shielded_checkpoint
END: Any = object()


@trio.lowlevel.disable_ki_protection
def _decoded(stream: Stream, batch: bytes | memoryview) -> Any:
    """Runs the code of a user's classes, which KeyboardInterrupt may interrupt."""
    return decoded(stream, batch)


@trio.lowlevel.disable_ki_protection
def next_of(iterator: Iterator[Any]) -> Any:
    """Returns the next value of a user's iterable, or :data:`END`."""
    return next(iterator, END)


@trio.lowlevel.disable_ki_protection
def _encoded(stream: Stream, value: Any) -> bytes:
    return stream.encode(value)


class StreamEnd(Uncopied):
    """One end of a stream."""

    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(self, driver: CallDriver, stream: Stream) -> None:
        assert isinstance(driver.call, StreamCall)
        self._driver = driver
        self._call = driver.call
        self._stream = stream
        self._is_busy = False

    def _begin(self, doing: str) -> None:
        """Begins an operation, which only one task at a time may do."""
        if self._is_busy:
            raise trio.BusyResourceError(f"another task is {doing} the stream {self._stream.name}")
        self._is_busy = True

    def _flush(self) -> None:
        session = self._driver.link.session
        if session.output or session.dirty:
            self._driver.link.flush()

    def __repr__(self) -> str:
        return f"<ipcpipes rpc stream {self._stream.name} of {self._call.operation}>"


class ReceiveEnd(StreamEnd, InStream[Any], implementation=True):
    def __init__(self, driver: CallDriver, stream: Stream) -> None:
        super().__init__(driver, stream)
        self._incoming = self._call.incoming[stream.index]
        self._values = self._incoming.values

    @property
    def _is_ready(self) -> bool:
        """Whether a receive need not wait."""
        return bool(self._values) or self._incoming.has_news or self._call.has_ended

    async def receive(self) -> Any:
        return await self._receive(self._values.popleft)

    async def receive_many(self) -> list[Any]:
        values: list[Any] = await self._receive(self._take_all)
        return values

    def _take_all(self) -> list[Any]:
        values = [*self._values]
        self._values.clear()
        return values

    @_ki_protected
    async def _receive(self, take: Callable[[], Any]) -> Any:
        """Waits until there is a value, and takes it or them."""
        driver = self._driver
        await driver._cancellation_point()
        is_mine = waited = False
        try:
            self._begin("receiving from")
            is_mine = True
            while not self._has_value():
                self._flush()
                await driver.wait()
                waited = True
            taken = take()
            self._flush()
        except Exception:
            await _shielded_checkpoint()
            raise
        finally:
            if is_mine:
                self._is_busy = False
        if not waited:
            await _shielded_checkpoint()
        return taken

    def _has_value(self) -> bool:
        """Decodes values if none are left. Returns whether there is one.

        Raises:
            EndOfChannel: all values were received.
            RpcError: what :meth:`StreamCall.values_of` raises.
        """
        call, index = self._call, self._stream.index
        if self._incoming.closed:
            raise trio.ClosedResourceError(closed_text(self._stream))
        call.require_receiving()
        while not self._values:
            batch = call.values_of(index)
            if batch is None:
                return False
            if not batch:
                raise trio.EndOfChannel(f"the stream {self._stream.name} has ended")
            call.took(index, batch, *_decoded(self._stream, batch))
        return True

    def receive_nowait(self) -> Any:
        self._begin("receiving from")
        try:
            found = self._has_value()
            self._flush()
            if not found:
                raise trio.WouldBlock
            return self._values.popleft()
        finally:
            self._is_busy = False

    def __iter__(self) -> NoReturn:
        raise TypeError(
            f"receive from {self._stream.name} with 'async for', in a method that is 'async def'; "
            "ipcpipes.rpc.blocking serves methods that are not"
        )

    async def aclose(self) -> None:
        self._call.leave_stream(self._stream.index)
        self._flush()
        await trio.lowlevel.checkpoint()


class SendEnd(StreamEnd, OutStream[Any], implementation=True):
    def __init__(self, driver: CallDriver, stream: Stream) -> None:
        super().__init__(driver, stream)
        self._outgoing = self._call.outgoing[stream.index]

    def _check(self) -> None:
        """Raises:
        ClosedResourceError: this end was closed.
        RpcError: what :meth:`StreamCall.require_sending` raises.
        """
        if self._outgoing.closed:
            raise trio.ClosedResourceError(closed_text(self._stream))
        self._call.require_sending(self._stream.index)

    async def send(self, value: Any) -> None:
        await self.send_many((value,))

    @_ki_protected
    async def send_many(self, values: Iterable[Any]) -> None:
        await self._driver._cancellation_point()
        is_mine = waited = False
        try:
            self._begin("sending into")
            is_mine = True
            self._check()
            iterator = iter(values)
            while (value := next_of(iterator)) is not END:
                waited |= await self.put(value)
        except Exception:
            await _shielded_checkpoint()
            raise
        finally:
            if is_mine:
                self._is_busy = False
        if not waited:
            await _shielded_checkpoint()

    async def put(self, value: Any) -> bool:
        """Collects a value, which is sent soon. Returns whether this has waited."""
        call, link, index = self._call, self._driver.link, self._stream.index
        octets = _encoded(self._stream, value)
        waited = False
        while link.is_full or not call.send(index, octets):
            waited = True
            if link.is_full:
                await link.wait_room()
            else:
                link.flush()
                await self._driver.wait()
            self._check()
        if call.has_batch(index):
            link.flush(at_once=True)
        else:
            link.flush_soon()
        return waited

    def send_nowait(self, value: Any) -> None:
        link = self._driver.link
        octets = self._stream.encode(value)
        if self._is_busy:
            self._begin("sending into")
        self._check()
        if link.is_full or not self._call.send(self._stream.index, octets):
            raise trio.WouldBlock
        link.flush_soon()

    async def aclose(self) -> None:
        self._call.end_stream(self._stream.index)
        self._driver.link.flush()
        await trio.lowlevel.checkpoint()
