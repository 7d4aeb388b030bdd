"""The body of a message whose size is known before it has come."""

from __future__ import annotations

from collections.abc import Iterable

from .._ffi import ffi
from ..errors import MessageTooLarge
from .contract import Splitter

# CPython shares the objects of empty and one-byte bytes, so that those cannot be filled.
SMALLEST = 2


class Body:
    """A message that is being received into the very ``bytes`` object that it will be.

    A bytes object may be filled by the one who made it as long as nobody else has seen it
    (Python/C API, PyBytes_FromStringAndSize). The alternatives cost a second copy of every
    large message: a bytearray that is converted in the end, or chunks that are joined. The
    memory is taken as zero pages (calloc), so that an announced length costs nothing until
    that much has really come.

    Args:
        size: 2 or more.
    """

    def __init__(self, size: int) -> None:
        self._message = bytes(size)
        # The view keeps the memory alive, also for a system call that outlives this object.
        self.free = memoryview(ffi.buffer(ffi.from_buffer(self._message)))

    @property
    def received(self) -> int:
        return len(self._message) - len(self.free)

    @property
    def size(self) -> int:
        return len(self._message)

    def put(self, data: bytes, start: int) -> int:
        """Takes what belongs here of ``data[start:]``; how many bytes that was."""
        count = min(len(data) - start, len(self.free))
        self.free[:count] = memoryview(data)[start : start + count]
        self.free = self.free[count:]
        return count

    def updated(self, nbytes: int) -> None:
        self.free = self.free[nbytes:]

    def taken(self) -> bytes:
        """The message, once :attr:`free` is empty."""
        return self._message


class BodySplitter(Splitter):
    """A splitter of messages whose size comes before them: receives large ones in place."""

    def __init__(self) -> None:
        self._body: Body | None = None

    def _begin_body(self, size: int, max_size: int) -> Body:
        """Where what follows belongs.

        Raises:
            MessageTooLarge: it is within ``max_size``, and still there is no memory for it.
        """
        try:
            self._body = Body(size)
        except (MemoryError, OverflowError):
            raise MessageTooLarge(
                size, max_size, "there is not that much memory; the limit is max_size"
            ) from None
        return self._body

    def _finish_body(self, data: bytes, messages: list[bytes]) -> int:
        """Gives the body what belongs to it; how many bytes of ``data`` that was."""
        if self._body is None:
            return 0
        count = self._body.put(data, 0)
        messages += self._whole_body()
        return count

    def _whole_body(self) -> Iterable[bytes]:
        if self._body is None or self._body.free:
            return ()
        message = self._body.taken()
        self._body = None
        return (message,)

    def get_buffer(self) -> memoryview | None:
        return None if self._body is None else self._body.free

    def buffer_updated(self, nbytes: int) -> Iterable[bytes]:
        assert self._body is not None
        self._body.updated(nbytes)
        return self._whole_body()
