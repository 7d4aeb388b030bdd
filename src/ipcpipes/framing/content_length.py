"""The framing of the Language Server Protocol: a header section, then the body."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import FramingError, MessageTooLarge
from .body import MIN_BODY, BodySplitter
from .contract import Buffer, Framing, Splitter, then_raise
from .limits import DEFAULT_MAX_SIZE, check_max_size

_HEADER_END = b"\r\n\r\n"
_MAX_HEADER = 4096
_MAX_DIGITS = 19  # of 2**63 - 1
# A peer with LengthPrefixed sends zeros in its first length, a peer with Lines sends line feeds.
# Without this check both ends would wait: the peer for an answer, this end for an empty line.
_NO_HEADER = re.compile(rb"\0|(?<!\r)\n")


@dataclass(frozen=True)
class ContentLength(Framing):
    r"""Each message follows ``Content-Length: N\r\n\r\n``; N is its size in bytes.

    This is the base protocol of the Language Server Protocol and of vscode-jsonrpc ("Base
    Protocol", "Header Part"). Other header fields, such as Content-Type, are ignored. The case of
    field names does not matter. A header section above 4,096 bytes, or with a line feed that does
    not follow a carriage return, is refused.

    Attributes:
        max_size: the largest body in bytes, 1 to 2**63 - 1.

    Raises:
        TypeError, ValueError: ``max_size`` is not an int, or is out of range.
    """

    max_size: int = DEFAULT_MAX_SIZE

    def __post_init__(self) -> None:
        check_max_size(self.max_size)

    def frame(self, message: Buffer) -> Sequence[Buffer]:
        return (b"Content-Length: %d\r\n\r\n" % len(message), message)

    def splitter(self) -> Splitter:
        return _Splitter(self.max_size)


class _Splitter(BodySplitter):
    def _is_head(self, data: bytes) -> bool:
        return data.endswith(_HEADER_END)

    def split(self, data: bytes) -> Iterable[bytes]:
        messages: list[bytes] = []
        position = self._continue_body(data, messages)
        if self._body is not None:
            return messages
        data = self._rest + data
        try:
            self._rest = self._split(data, position, messages)
        except FramingError as error:
            return then_raise(messages, error)
        return messages

    def _split(self, data: bytes, position: int, messages: list[bytes]) -> bytes:
        """Appends the complete messages; returns the rest, the beginning of a header section."""
        while position < len(data):
            limit = position + _MAX_HEADER + len(_HEADER_END)
            end = data.find(_HEADER_END, position, limit)
            header = data[position : limit if end == -1 else end]
            if fault := _NO_HEADER.search(header):
                raise FramingError(
                    f"not a header section: {header[: fault.end()][:80]!r}; "
                    "both ends need the same framing"
                )
            if end == -1:
                if len(data) >= limit:
                    raise FramingError(f"a header section above {_MAX_HEADER:,} bytes")
                return header
            size = self._size(header)
            start = end + len(_HEADER_END)
            if len(data) - start >= size:
                messages.append(data[start : start + size])
                position = start + size
            elif size < MIN_BODY:
                return data[position:]
            else:
                self._begin_body(start - position, size).put(data, start)
                break
        return b""

    def _size(self, header: bytes) -> int:
        sizes = set()
        for line in header.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise FramingError(f"not a header field: {line[:80]!r}")
            if name.lower() == b"content-length":
                value = value.strip(b" \t")
                # bytes.isdigit() accepts only the ten ASCII digits, unlike str.isdigit().
                if not value.isdigit() or len(value) > _MAX_DIGITS:
                    raise FramingError(f"not a Content-Length: {value[:80]!r}")
                sizes.add(int(value))
        if len(sizes) != 1:
            raise FramingError(
                f"{'two different' if sizes else 'no'} Content-Length in {header[:80]!r}"
            )
        size = sizes.pop()
        if size > self._max_size:
            raise MessageTooLarge(size, self._max_size)
        return size
