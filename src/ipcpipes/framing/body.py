"""Receives the body of a message of known size."""

from __future__ import annotations

import ctypes
from abc import abstractmethod
from collections.abc import Iterable

from .._ffi import ffi
from ..errors import IncompleteMessage, MessageTooLarge
from .contract import Splitter

# CPython shares the objects of empty and one-byte bytes, so these must not be filled in place.
MIN_BODY = 2

# ``bytes(size)`` would write zeros, which the received bytes overwrite: 11 us for each MiB. A
# prototype of our own: another library may have set other types for the shared function.
_new_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)


class Body:
    """A message that is received directly into the ``bytes`` object that is returned.

    Code that makes a bytes object may fill it until other code has a reference to it (Python/C API,
    PyBytes_FromStringAndSize). The alternatives cost a second copy of every large message: a
    bytearray that is converted at the end, or chunks that are joined. Large memory that was not
    used before has no pages yet, so an announced length costs nothing until the bytes arrive. The
    message is returned only when all of its memory is filled.

    Args:
        size: 2 or more.
    """

    def __init__(self, size: int) -> None:
        self._message: bytes = _new_bytes(None, size)
        # The view keeps the memory alive, also for a system call that outlives this object.
        self.free = memoryview(ffi.buffer(ffi.from_buffer(self._message)))

    @property
    def received(self) -> int:
        return len(self._message) - len(self.free)

    @property
    def size(self) -> int:
        return len(self._message)

    def put(self, data: bytes, start: int) -> int:
        """Copies from ``data[start:]`` what belongs to this body; returns how many bytes."""
        count = min(len(data) - start, len(self.free))
        self.free[:count] = memoryview(data)[start : start + count]
        self.free = self.free[count:]
        return count

    def updated(self, nbytes: int) -> None:
        self.free = self.free[nbytes:]

    def message(self) -> bytes:
        """Returns the message; call it when :attr:`free` is empty."""
        return self._message


class BodySplitter(Splitter):
    """The base of splitters for messages that follow a head with their size: receives large
    messages in place.

    Its state is either an unfinished body and the size of its head, or ``_rest``: a part of a head,
    or the whole head of a message that is too short to be received in place.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._body: Body | None = None
        self._head = 0
        self._rest = b""

    @abstractmethod
    def _is_head(self, data: bytes) -> bool:
        """Returns whether this beginning of a message is a whole head."""

    def _begin_body(self, head: int, size: int) -> Body:
        """Makes the body that the next bytes belong to.

        Args:
            head: the size of the head before it.
            size: its own size, at most ``max_size``.

        Raises:
            MessageTooLarge: there is not enough memory.
        """
        try:
            self._body = Body(size)
        except (MemoryError, OverflowError):
            raise MessageTooLarge(
                size, self._max_size, "there is not that much memory; the limit is max_size"
            ) from None
        self._head = head
        return self._body

    def _continue_body(self, data: bytes, messages: list[bytes]) -> int:
        """Copies into the unfinished body, if there is one; returns how many bytes of ``data``."""
        if self._body is None:
            return 0
        count = self._body.put(data, 0)
        messages += self._completed_body()
        return count

    def _completed_body(self) -> Iterable[bytes]:
        if self._body is None or self._body.free:
            return ()
        message = self._body.message()
        self._body = None
        return (message,)

    def has_part(self) -> bool:
        return self._body is not None or bool(self._rest)

    def get_buffer(self) -> memoryview | None:
        return None if self._body is None else self._body.free

    def buffer_updated(self, nbytes: int) -> Iterable[bytes]:
        assert self._body is not None
        self._body.updated(nbytes)
        return self._completed_body()

    def end(self) -> None:
        if self._body is not None:
            raise IncompleteMessage(self._head + self._body.received, self._head + self._body.size)
        if self._rest:
            # After a whole head the body is one byte, which has not arrived.
            expected = len(self._rest) + 1 if self._is_head(self._rest) else None
            raise IncompleteMessage(len(self._rest), expected)
