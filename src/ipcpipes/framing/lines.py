"""Messages that end with a delimiter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import FramingError, IncompleteMessage, MessageTooLarge
from .contract import Buffer, Framing, Splitter, then_raise
from .limits import DEFAULT_MAX_SIZE, check_max_size


@dataclass(frozen=True)
class Lines(Framing):
    r"""Each message is followed by a delimiter, which it cannot contain.

    The delimiter is not part of the message, and the last message needs one too: a stream
    that ends without it ended inside a message.

    Attributes:
        delimiter: one byte or more; ``b"\n"`` for lines of text, ``b"\0"`` is common too.
        max_size: the largest message in bytes, without its delimiter, 1 to 2**63 - 1.

    Raises:
        TypeError, ValueError: one of them is of the wrong type or out of range.
    """

    delimiter: bytes = b"\n"
    max_size: int = DEFAULT_MAX_SIZE

    def __post_init__(self) -> None:
        if not isinstance(self.delimiter, bytes):
            raise TypeError(f"delimiter must be bytes, not {self.delimiter!r}")
        if not self.delimiter:
            raise ValueError("delimiter must be one byte or more")
        check_max_size(self.max_size)

    def frame(self, message: Buffer) -> Sequence[Buffer]:
        flat = message if isinstance(message, bytes) else bytes(message)
        # The last bytes of the message and the first of the delimiter can make one that ends
        # too early.
        tail = flat[max(0, len(flat) - len(self.delimiter) + 1) :] + self.delimiter
        if self.delimiter in flat or tail.find(self.delimiter) != len(tail) - len(self.delimiter):
            raise FramingError(
                f"a message that has the delimiter {self.delimiter!r} in it would arrive as two; "
                "take another delimiter, or a framing that counts"
            )
        return (flat, self.delimiter)

    def splitter(self) -> Splitter:
        return _Splitter(self)


class _Splitter(Splitter):
    """State: the message that has not ended yet, in ``_rest``; no delimiter is in it. (While it
    grows, a bytearray takes up to an eighth more memory than it has bytes.)
    """

    def __init__(self, framing: Lines) -> None:
        self._delimiter = framing.delimiter
        self._max_size = framing.max_size
        self._rest = bytearray()

    def only(self, data: bytes) -> bytes | None:
        end = len(data) - len(self._delimiter)
        # The first delimiter has to be the last thing in it.
        if self._rest or not 0 <= end <= self._max_size or data.find(self._delimiter) != end:
            return None
        return data[:end]

    def split(self, data: bytes) -> Iterable[bytes]:
        overlap = len(self._delimiter) - 1
        if self._rest:
            # What was looked through is not looked through again.
            start = max(0, len(self._rest) - overlap)
            self._rest += data
            if self._rest.find(self._delimiter, start) == -1:
                parts = []
            else:
                # One copy less while it is cut.
                data = bytes(self._rest)
                self._rest = bytearray()
                parts = data.split(self._delimiter)
                self._rest += parts.pop()
        else:
            parts = data.split(self._delimiter)
            self._rest += parts.pop()
        for number, message in enumerate(parts):
            if len(message) > self._max_size:
                return then_raise(parts[:number], MessageTooLarge(len(message), self._max_size))
        # The last bytes may be the beginning of the delimiter.
        if len(self._rest) - overlap > self._max_size:
            return then_raise(parts, MessageTooLarge(len(self._rest), self._max_size))
        return parts

    def end(self) -> None:
        if self._rest:
            raise IncompleteMessage(len(self._rest))
