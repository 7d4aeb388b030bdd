"""The interface between a blocking channel and the stream or packets below it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from ..._os.common.deadline import Deadline
from ..._os.common.locks import SendReceiveLocks
from ..._os.common.receive_size import RECEIVE_INTERRUPTED
from ...abc import PeerIdentity
from ...errors import NotSupported
from ...framing import Buffer

if TYPE_CHECKING:
    from ...endpoint import Endpoint
    from ..abc import BareStream

ResultT = TypeVar("ResultT")

# After these errors a stream is unchanged, according to its contract, or raises the same error
# again.
_NOTHING_LOST = (
    TimeoutError,
    trio.BrokenResourceError,
    trio.BusyResourceError,
    trio.ClosedResourceError,
)


class MessageTransport(Protocol):
    """The inner methods that every connection of ipcpipes has for the channel over it. With them
    the channel needs no second lock and no second call for an operation. The rules for the turns
    are in ``_os/common/locks.py``.
    """

    _number: int
    _may_send: dict[str, None]
    _may_receive: dict[str, None]
    _waiting: deque[threading.Lock]

    @property
    def endpoint(self) -> Endpoint | None: ...
    @property
    def peer(self) -> PeerIdentity: ...
    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT: ...
    def close(self) -> None: ...
    def _queue(self, deadline: Deadline | None) -> None: ...
    def _leave(self) -> None: ...
    def _busy(self, doing: str) -> Exception: ...
    def _require_open(self) -> object: ...


class StreamTransport(MessageTransport, Protocol):
    """A stream: sends and receives bytes in the order of the calls.

    Attributes:
        _came: data that was received and that the channel has not processed yet: bytes (empty at
            the end of the stream), or the number of bytes that were put into the channel's memory.
            The channel sets it to None once it has made messages of it, so that a signal handler's
            exception loses nothing.
    """

    _came: bytes | int | None

    def _put(self, data: Buffer, deadline: Deadline | None) -> None: ...
    def _put_pieces(self, pieces: Sequence[Buffer], deadline: Deadline | None) -> None: ...
    def _fetch(self, size: int, deadline: Deadline | None) -> None: ...
    def _fetch_into(self, view: memoryview, deadline: Deadline | None) -> None: ...


class ForeignStream(SendReceiveLocks):
    """An adapter that gives a stream of another library this interface.

    The stream's own ``close`` has to wake the threads that use it. There is no descriptor here:
    ``_number`` says only whether the stream is closed (-1).
    """

    def __init__(self, stream: BareStream) -> None:
        for name in ("send_all", "receive_some", "close"):
            if not callable(getattr(stream, name, None)):
                raise TypeError(f"a channel is made over a stream with {name}, not {stream!r}")
        self._stream = stream
        super().__init__()
        self._number = 0
        self._send_fault: str | None = None
        self._receive_fault: str | None = None
        self._came: bytes | int | None = None
        self._receive_into: Callable[..., int] | None = getattr(stream, "receive_into", None)

    @property
    def endpoint(self) -> Endpoint | None:
        return getattr(self._stream, "endpoint", None)

    @property
    def peer(self) -> PeerIdentity:
        peer: PeerIdentity = getattr(self._stream, "peer", PeerIdentity())
        return peer

    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        run = getattr(self._stream, "run_as_client", None)
        if run is None:
            raise NotSupported("this channel is not over a connection of ipcpipes")
        result: ResultT = run(fn, *args)
        return result

    def close(self) -> None:
        self._number = -1
        self._stream.close()

    def _busy(self, doing: str) -> Exception:
        return trio.BusyResourceError(f"another thread is {doing} this channel")

    def _require_open(self) -> None:
        if self._number == -1:
            raise trio.ClosedResourceError("this channel was closed here")

    def _put(self, data: Buffer, deadline: Deadline | None) -> None:
        self._put_pieces((data,), deadline)

    def _put_pieces(self, pieces: Sequence[Buffer], deadline: Deadline | None) -> None:
        self._require_open()
        if self._send_fault is not None:
            raise trio.BrokenResourceError(self._send_fault)
        # Set first, because a signal handler can raise between any two steps.
        self._send_fault = "an earlier send was interrupted"
        try:
            for piece in pieces:
                self._stream.send_all(piece, **_timeout(deadline))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._send_fault = None  # the stream raises the error again
            raise
        self._send_fault = None

    def _put_eof(self) -> None:
        self._require_open()
        if self._send_fault is not None:
            raise trio.BrokenResourceError(self._send_fault)
        self._stream.send_eof()  # type: ignore[attr-defined]  # called only if the stream has it

    def _fetch(self, size: int, deadline: Deadline | None) -> None:
        with self._receiving():
            self._came = bytes(self._stream.receive_some(size, **_timeout(deadline)))

    def _fetch_into(self, view: memoryview, deadline: Deadline | None) -> None:
        with self._receiving():
            if self._receive_into is not None:
                self._came = self._receive_into(view, **_timeout(deadline))
            else:
                data = self._stream.receive_some(len(view), **_timeout(deadline))
                view[: len(data)] = data
                self._came = len(data)

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        """Marks the channel broken for receiving if a signal handler raises inside: only the stream
        knows whether bytes were lost.
        """
        self._require_open()
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(self._receive_fault)
        self._receive_fault = RECEIVE_INTERRUPTED
        try:
            yield
        except _NOTHING_LOST:
            self._receive_fault = None
            raise
        self._receive_fault = None


def _timeout(deadline: Deadline | None) -> dict[str, float]:
    return {} if deadline is None else {"timeout": deadline.remaining}
