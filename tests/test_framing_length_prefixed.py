"""The default framing: the bytes that it sends, its options, and lengths at every limit."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from ipcpipes.errors import IncompleteMessage, MessageTooLarge
from ipcpipes.framing import LengthPrefixed

from . import length_prefixed_model
from .receiving import check_every_cut_is_the_same, receive

Width = Literal[1, 2, 4, 8]
Order = Literal["little", "big"]

# These bytes never change: programs in other languages read them.
GOLDEN: list[tuple[Width, Order, bytes]] = [
    (1, "little", b"\x05hello\x00\x01!"),
    (1, "big", b"\x05hello\x00\x01!"),
    (2, "little", b"\x05\x00hello\x00\x00\x01\x00!"),
    (2, "big", b"\x00\x05hello\x00\x00\x00\x01!"),
    (4, "little", b"\x05\x00\x00\x00hello\x00\x00\x00\x00\x01\x00\x00\x00!"),
    (4, "big", b"\x00\x00\x00\x05hello\x00\x00\x00\x00\x00\x00\x00\x01!"),
    (8, "little", b"\x05" + bytes(7) + b"hello" + bytes(8) + b"\x01" + bytes(7) + b"!"),
    (8, "big", bytes(7) + b"\x05hello" + bytes(8) + bytes(7) + b"\x01!"),
]


@pytest.mark.parametrize(("width", "byteorder", "wire"), GOLDEN)
def test_the_bytes_on_the_wire(width: Width, byteorder: Order, wire: bytes) -> None:
    framing = LengthPrefixed(width, byteorder)
    messages = [b"hello", b"", b"!"]
    assert framing.join(messages) == wire
    assert b"".join(b"".join(framing.frame(message)) for message in messages) == wire
    assert b"".join(framing.join([message]) for message in messages) == wire
    assert length_prefixed_model.joined(framing, messages) == wire
    assert check_every_cut_is_the_same(framing, wire, [1]).messages == messages


@pytest.mark.parametrize("width", [0, 3, 5, 16, -1, True, 4.0, "4", None, [4]])
def test_invalid_widths_are_refused(width: Any) -> None:
    with pytest.raises(ValueError, match=r"^width must be 1, 2, 4 or 8 bytes, not [^\n]+$"):
        LengthPrefixed(width)


@pytest.mark.parametrize("byteorder", ["native", "LITTLE", "<", b"big", None, 1, ["big"]])
def test_invalid_byteorder_is_refused(byteorder: Any) -> None:
    with pytest.raises(ValueError, match=r'^byteorder must be "little" or "big", not [^\n]+$'):
        LengthPrefixed(byteorder=byteorder)


def test_narrow_length_lowers_max_size() -> None:
    assert LengthPrefixed(1).max_size == 255
    assert LengthPrefixed(2).max_size == 65_535
    assert LengthPrefixed(4, max_size=2**40).max_size == 2**32 - 1
    assert LengthPrefixed(8, max_size=2**63 - 1).max_size == 2**63 - 1
    assert LengthPrefixed(2, max_size=300).max_size == 300
    assert LengthPrefixed(1, max_size=300) == LengthPrefixed(1)


@pytest.mark.parametrize("messages", [[bytes(256)], [b"", bytes(256)], [bytes(1000), bytes(256)]])
def test_message_above_the_width_is_not_framed(messages: list[bytes]) -> None:
    framing = LengthPrefixed(1)
    largest = max(map(len, messages))
    with pytest.raises(MessageTooLarge, match=rf"^a message of {largest:,} bytes .* 255 bytes$"):
        framing.join(messages)
    with pytest.raises(MessageTooLarge, match=r"^a message of 256 bytes .* 255 bytes$"):
        framing.frame(messages[-1])
    assert framing.join([bytes(255), b""]) == b"\xff" + bytes(255) + b"\0"


LENGTHS = [0, 1, 2, 199, 200, 201, 255, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize(
    ("width", "size"),
    [(width, size) for width in (1, 2, 4, 8) for size in LENGTHS if size < 2 ** (8 * width)],
)
def test_announced_lengths_at_every_limit(size: int, width: Width) -> None:
    framing = LengthPrefixed(width, "big", max_size=200)
    good = bytes(framing.join([b"good"]))
    received = check_every_cut_is_the_same(framing, good + size.to_bytes(width, "big"), [3])
    fault = received.fault
    if size == 0:
        assert (received.messages, fault) == ([b"good", b""], None)
        return
    assert received.messages == [b"good"]
    if size <= 200:
        assert isinstance(fault, IncompleteMessage)
        assert (fault.received, fault.expected) == (width, width + size)
    else:
        assert isinstance(fault, MessageTooLarge)
        assert (fault.size, fault.max_size) == (size, 200)


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_where_the_stream_ended(width: Width) -> None:
    framing = LengthPrefixed(width, "big")
    wire = bytes(framing.join([b"0123456789"]))
    for length in range(1, len(wire)):
        received = check_every_cut_is_the_same(framing, wire[:length], [1, 2])
        assert received.messages == []
        assert isinstance(received.fault, IncompleteMessage)
        assert received.fault.received == length
        assert received.fault.expected == (None if length < width else width + 10)


def test_more_messages_than_one_c_call_finds_all_arrive() -> None:
    framing = LengthPrefixed(2)
    for count in (1023, 1024, 1025, 2048, 5000):
        messages = [b"%d" % number for number in range(count)]
        wire = bytes(framing.join(messages))
        assert receive(framing, [wire]).messages == messages
        # After them a part of a length, a whole length, or nothing.
        for more, end in ((b"\x05", "Incomplete"), (b"\x05\0", "Incomplete"), (b"", "")):
            received = receive(framing, [wire + more])
            assert received.messages == messages
            assert received.end.startswith(end)
    small = LengthPrefixed(2, max_size=4)
    received = receive(small, [bytes(2 * 1024) + b"\x05\0"])
    assert len(received.messages) == 1024
    assert isinstance(received.fault, MessageTooLarge)
