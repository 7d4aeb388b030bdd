"""A second implementation of ContentLength, by regular expressions on a whole stream, for
comparison.
"""

from __future__ import annotations

import re

from ipcpipes.errors import FramingError, IncompleteMessage, MessageTooLarge

_FIELD = re.compile(rb"(?P<name>[^\s:]|[^\s:][^:]*[^\s:]):(?P<value>.*)", re.DOTALL)
_SIZE = re.compile(rb"[ \t]*([0-9]{1,19})[ \t]*")
_END = b"\r\n\r\n"
_NO_HEADER = re.compile(rb"\0|[^\r]\n|^\n")


def split(stream: bytes, max_size: int) -> tuple[list[bytes], type[FramingError] | None]:
    """The messages in a whole stream, and the kind of fault at its end."""
    messages: list[bytes] = []
    while stream:
        end = stream[: 4096 + len(_END)].find(_END)
        if _NO_HEADER.search(stream[: end if end != -1 else 4096 + len(_END)]):
            return messages, FramingError
        if end == -1:
            long = len(stream) >= 4096 + len(_END)
            return messages, FramingError if long else IncompleteMessage
        size = _announced(stream[:end])
        if size is None:
            return messages, FramingError
        if size > max_size:
            return messages, MessageTooLarge
        body = stream[end + len(_END) :]
        if len(body) < size:
            return messages, IncompleteMessage
        messages.append(body[:size])
        stream = body[size:]
    return messages, None


def _announced(header: bytes) -> int | None:
    fields = [_FIELD.fullmatch(line) for line in header.split(b"\r\n")]
    values = [
        field["value"] for field in fields if field and field["name"].lower() == b"content-length"
    ]
    sizes = [_SIZE.fullmatch(value) for value in values]
    found = {int(size[1]) for size in sizes if size}
    return found.pop() if all(fields) and all(sizes) and len(found) == 1 else None
