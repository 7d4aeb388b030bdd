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

    The delimiter is not part of the message. The last message needs one too: if the stream ends
    without it, :exc:`ipcpipes.IncompleteMessage` is raised, unless ``accept_unterminated`` is true.

    Attributes:
        delimiter: one byte or more; ``b"\n"`` for lines of text, ``b"\0"`` is common too.
        max_size: the largest message in bytes, without its delimiter, 1 to 2**63 - 1.
        accept_crlf: a received line may end with ``\r\n`` (as programs on Windows write it) or with
            ``\n``. Sent lines end with ``\n``. A message to be sent must not end with ``\r``,
            because the receiver would remove it. Only with the delimiter ``b"\n"``.
        accept_unterminated: when the stream ends, the bytes after the last delimiter are a message
            too, unless there are none. With this, a peer that dies in the middle of a line looks
            like a peer that has finished.

    Raises:
        TypeError, ValueError: one of them is of the wrong type or out of range.
    """

    delimiter: bytes = b"\n"
    max_size: int = DEFAULT_MAX_SIZE
    accept_crlf: bool = False
    accept_unterminated: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.delimiter, bytes):
            raise TypeError(f"delimiter must be bytes, not {self.delimiter!r}")
        if not self.delimiter:
            raise ValueError("delimiter must be one byte or more")
        check_max_size(self.max_size)
        for name in ("accept_crlf", "accept_unterminated"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, not {getattr(self, name)!r}")
        if self.accept_crlf and self.delimiter != b"\n":
            raise ValueError(f'accept_crlf needs the delimiter b"\\n", not {self.delimiter!r}')

    def frame(self, message: Buffer) -> Sequence[Buffer]:
        flat = message if isinstance(message, bytes) else bytes(message)
        # With a delimiter like b"aa", the end of the message and the beginning of the delimiter
        # together can form a delimiter that ends too early.
        tail = flat[max(0, len(flat) - len(self.delimiter) + 1) :] + self.delimiter
        if self.delimiter in flat or tail.find(self.delimiter) != len(tail) - len(self.delimiter):
            raise FramingError(
                f"a message that contains the delimiter {self.delimiter!r} would arrive as two; "
                "take another delimiter, or a framing with lengths such as LengthPrefixed"
            )
        if self.accept_crlf and flat.endswith(b"\r"):
            raise FramingError(
                "the message ends with \\r, which the receiver would remove; leave accept_crlf "
                "out, or use another framing"
            )
        return (flat, self.delimiter)

    def splitter(self) -> Splitter:
        return _Splitter(self)


class _Splitter(Splitter):
    """Its state is ``_rest``: the unfinished message, which contains no delimiter. (While a
    bytearray grows, it takes up to an eighth more memory than it has bytes.)
    """

    def __init__(self, framing: Lines) -> None:
        self._delimiter = framing.delimiter
        self._accepts_crlf = framing.accept_crlf
        self._accepts_unterminated = framing.accept_unterminated
        self._max_size = framing.max_size
        # How many of the last bytes can be the beginning of a delimiter, or with accept_crlf a \r.
        self._overlap = 1 if framing.accept_crlf else len(framing.delimiter) - 1
        self._rest = bytearray()

    def only(self, data: bytes) -> bytes | None:
        end = len(data) - len(self._delimiter)
        # The first delimiter must be at the end.
        if self._rest or end < 0 or data.find(self._delimiter) != end:
            return None
        message = data[:end]
        if self._accepts_crlf and message.endswith(b"\r"):
            message = message[:-1]
        return message if len(message) <= self._max_size else None

    def split(self, data: bytes) -> Iterable[bytes]:
        if self._rest:
            # The part that was searched before is not searched again.
            start = max(0, len(self._rest) - self._overlap)
            self._rest += data
            if self._rest.find(self._delimiter, start) == -1:
                parts = []
            else:
                # bytes.split makes the parts as bytes at once; those of a bytearray would have to
                # be converted, one more copy.
                data = bytes(self._rest)
                self._rest = bytearray()
                parts = data.split(self._delimiter)
                self._rest += parts.pop()
        else:
            parts = data.split(self._delimiter)
            self._rest += parts.pop()
        if self._accepts_crlf:
            parts = [part[:-1] if part.endswith(b"\r") else part for part in parts]
        for number, message in enumerate(parts):
            if len(message) > self._max_size:
                return then_raise(parts[:number], MessageTooLarge(len(message), self._max_size))
        if len(self._rest) - self._overlap > self._max_size:
            return then_raise(parts, MessageTooLarge(len(self._rest), self._max_size))
        return parts

    def has_part(self) -> bool:
        return bool(self._rest)

    def end(self) -> Iterable[bytes]:
        if not self._rest:
            return ()
        if not self._accepts_unterminated:
            raise IncompleteMessage(len(self._rest))
        if len(self._rest) > self._max_size:
            raise MessageTooLarge(len(self._rest), self._max_size)
        message = bytes(self._rest)
        self._rest = bytearray()
        return (message,)
