"""Receiving from a stream without an event loop; the same on every system."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import trio

from .deadline import Deadline
from .receive_size import RECEIVE_INTERRUPTED, receive_size, writable_bytes
from .shared_handle import SharedHandle


class Receiving(SharedHandle):
    """The public methods for receiving. A system implements :meth:`_fetch` and :meth:`_fetch_into`.

    A signal handler can raise after any call, and nothing is lost: received data stays in ``_came``
    until the last step, which is not a call.

    Attributes:
        _came: data that was received and not returned yet: bytes (empty at the end of the stream),
            or the number of bytes that were put into the caller's memory.
    """

    _came: bytes | int | None = None

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        size = receive_size(max_bytes)
        deadline = None if timeout is None else Deadline.after(timeout)
        try:
            del self._may_receive["turn"]
        except KeyError:
            raise self._busy("receiving from") from None
        try:
            if self._came is None:
                self._fetch(size, deadline)
            else:
                self._kept_data()
            came: Any = self._came
            rest = came[size:] if len(came) > size else None
            data: bytes = came if rest is None else came[:size]
            # From here to the caller no signal handler runs (Python 3.11 and later).
            self._came = rest
            return data
        finally:
            self._may_receive["turn"] = None
            if self._number == -1:
                self._leave()

    def receive_into(self, buffer: bytearray | memoryview, *, timeout: float | None = None) -> int:
        deadline = None if timeout is None else Deadline.after(timeout)
        # The view is released when the function returns. A call of release() would let a signal
        # handler run.
        view = writable_bytes(buffer)
        try:
            del self._may_receive["turn"]
        except KeyError:
            view.release()
            raise self._busy("receiving from") from None
        is_in_view = self._came is None
        try:
            if is_in_view:
                self._fetch_into(view, deadline)
            else:
                self._kept_data()
            came: Any = self._came
            if isinstance(came, bytes):
                count = min(len(came), len(view))
                view[:count] = came[:count]
                self._came = came[count:] or None
            else:
                count = came
                self._came = None
            return count
        except BaseException:
            if is_in_view and type(self._came) is int:
                self._came = bytes(view[: self._came])
            view.release()
            raise
        finally:
            self._may_receive["turn"] = None
            if self._number == -1:
                self._leave()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self.receive_some()
        if not data:
            raise StopIteration
        return data

    def _require_whole(self) -> None:
        super()._require_whole()
        if self._came:
            raise RuntimeError(
                "an interrupted receive has left data in this stream; receive it before you detach "
                "the stream"
            )

    def _kept_data(self) -> bytes:
        """Returns the data that an interrupted receive has left in ``_came``.

        Raises:
            trio.BrokenResourceError: the data is in the memory of an earlier caller.
        """
        self._require_open()
        if not isinstance(self._came, bytes):
            raise trio.BrokenResourceError(RECEIVE_INTERRUPTED)
        return self._came

    @abstractmethod
    def _fetch(self, size: int, deadline: Deadline | None) -> None:
        """Puts 1 to ``size`` bytes into ``_came``, or ``b""`` at the end. The caller holds the
        receive lock, and ``_came`` is None.

        If a signal handler raises, either nothing was received and ``_came`` is None, or the bytes
        are in ``_came``.
        """

    @abstractmethod
    def _fetch_into(self, view: memoryview, deadline: Deadline | None) -> None:
        """Does the same as :meth:`_fetch`, but receives into ``view``. Afterwards ``_came`` is the
        number of received bytes.
        """
