"""A stream of another library below a blocking channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from ..._os.common.deadline import Deadline
from ..._os.common.locks import SendReceiveLocks
from ..._os.common.receive_size import RECEIVE_INTERRUPTED
from ...errors import NotSupported
from ...framing import Buffer

if TYPE_CHECKING:
    from ..abc import BareStream

# After these errors a stream is unchanged, according to its contract, or raises the same error
# again.
_NOTHING_LOST = (
    TimeoutError,
    trio.BrokenResourceError,
    trio.BusyResourceError,
    trio.ClosedResourceError,
)


class ForeignStream(SendReceiveLocks):
    """An adapter for a stream of another library. It has the internal methods that a channel calls
    on streams of ipcpipes. With these methods the channel needs no second lock and no second call
    for an operation. The rules for the turns are in ``_os/common/locks.py``, and those for
    ``_came`` in ``_os/common/buffered_receiving.py``.

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

    def close(self) -> None:
        self._number = -1
        self._stream.close()

    def _take_turn(self, taken: list[Callable[[], object]]) -> None:
        """Raises:
        NotSupported: always.
        """
        raise NotSupported(
            f"a channel over {self._stream!r} cannot be waited for together with other objects: "
            "ipcpipes did not make this stream, and only receives from it; use a thread for it"
        )

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
        # The fault is set first, because a signal handler can raise between any two steps.
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
