"""The framings: the first three bytes choose the options and the cuts, the rest is the stream."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TypeVar

from ipcpipes.framing import ContentLength, LengthPrefixed, Lines
from tests import content_length_model, length_prefixed_model
from tests.receiving import check_every_cut_is_the_same, in_parts, receive

T = TypeVar("T")

# With this limit, a message is refused when there is no memory for its announced size.
_NO_MEMORY = 2**63 - 1
_LIMITS = (1, 2, 3, 10, 100, 255, 1000, 2**20, _NO_MEMORY)
_PREFIXES = [LengthPrefixed(width, order) for width in (1, 2, 4, 8) for order in ("little", "big")]
_LINES = [
    *map(Lines, (b"\n", b"\0", b"\r\n", b"aa", b"aba", b"--end--")),
    Lines(accept_crlf=True),
    Lines(accept_unterminated=True),
    Lines(accept_crlf=True, accept_unterminated=True),
    Lines(b"aba", accept_unterminated=True),
]
_CUTS: tuple[Sequence[int], ...] = ((1,), (2,), (3, 1), (1, 5, 2), (7,), (40, 1, 9), (1000, 3))


def length_prefixed(data: bytes) -> None:
    kind, limit, cuts, stream = _read(data, _PREFIXES)
    framing = LengthPrefixed(kind.width, kind.byteorder, limit)
    received = check_every_cut_is_the_same(framing, stream, cuts)
    if received.fault is None:
        assert framing.join(received.messages) == stream


def lines(data: bytes) -> None:
    options, limit, cuts, stream = _read(data, _LINES)
    framing = dataclasses.replace(options, max_size=limit)
    received = check_every_cut_is_the_same(framing, stream, cuts)
    if received.fault is None:
        sent = stream.replace(b"\r\n", b"\n") if framing.accept_crlf else stream
        terminated = b"".join(message + framing.delimiter for message in received.messages)
        assert terminated == sent or (
            framing.accept_unterminated and terminated == sent + framing.delimiter
        )


def content_length(data: bytes) -> None:
    _, limit, cuts, stream = _read(data, (None,))
    framing = ContentLength(limit)
    received = check_every_cut_is_the_same(framing, stream, cuts)
    messages, fault = content_length_model.split(stream, limit)
    assert received.messages == messages
    assert type(received.fault) is (fault or type(None)) or limit == _NO_MEMORY
    # A header can be written in several ways; the sender uses only one.
    again = receive(framing, [bytes(framing.join(received.messages))])
    assert (again.messages, again.fault) == (received.messages, None)


def c_against_reference(data: bytes) -> None:
    kind, limit, cuts, stream = _read(data, _PREFIXES)
    framing = LengthPrefixed(kind.width, kind.byteorder, limit)
    messages, fault = length_prefixed_model.split(framing, stream)
    for in_place in (False, True):
        received = receive(framing, in_parts(stream, cuts), in_place=in_place)
        assert received.messages == messages
        same = (type(received.fault), str(received.fault)) == (type(fault), str(fault))
        assert same or limit == _NO_MEMORY
    assert framing.join(messages) == length_prefixed_model.joined(framing, messages)


def seeds() -> Iterable[bytes]:
    """Yields valid streams of each framing."""
    messages = [b"hello", b"", b"x" * 300, b"!"]
    for number, kind in enumerate(_PREFIXES):
        if kind.max_size >= 300:
            yield bytes((number, 6, 1)) + kind.join(messages)
    for number, framing in enumerate(_LINES):
        yield bytes((number, 6, 3)) + framing.join(messages)
    yield b"\0\6\2" + ContentLength().join(messages)
    yield b"\0\6\4content-length:2\r\nContent-Type: x\r\n\r\nab"


def _read(data: bytes, kinds: Sequence[T]) -> tuple[T, int, Sequence[int], bytes]:
    kind, limit, cuts = data[:3].ljust(3, b"\0")
    return (
        kinds[kind % len(kinds)],
        _LIMITS[limit % len(_LIMITS)],
        _CUTS[cuts % len(_CUTS)],
        data[3:],
    )
