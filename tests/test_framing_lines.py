"""Lines: delimiters of one byte and more, also such that overlap with themselves."""

from __future__ import annotations

from typing import Any

import pytest

from ipcpipes.errors import FramingError, IncompleteMessage, MessageTooLarge
from ipcpipes.framing import Lines

from .receiving import check_every_cut_is_the_same, receive


@pytest.mark.parametrize(
    ("framing", "wire"),
    [
        (Lines(), b"hello\n\n!\n"),
        (Lines(b"\0"), b"hello\0\0!\0"),
        (Lines(b"\r\n"), b"hello\r\n\r\n!\r\n"),
        (Lines(b"aa"), b"helloaaaa!aa"),
        (Lines(b"--end--"), b"hello--end----end--!--end--"),
    ],
    ids=repr,
)
def test_the_bytes_on_the_wire(framing: Lines, wire: bytes) -> None:
    messages = [b"hello", b"", b"!"]
    assert framing.join(messages) == wire
    assert b"".join(b"".join(framing.frame(message)) for message in messages) == wire
    for size in range(1, 10):
        assert check_every_cut_is_the_same(framing, wire, [size]).messages == messages


@pytest.mark.parametrize("delimiter", ["\n", 10, None, bytearray(b"\n")])
def test_a_delimiter_is_bytes(delimiter: Any) -> None:
    with pytest.raises(TypeError, match=r"^delimiter must be bytes, not [^\n]+$"):
        Lines(delimiter)


def test_a_delimiter_is_something() -> None:
    with pytest.raises(ValueError, match=r"^delimiter must be one byte or more$"):
        Lines(b"")


@pytest.mark.parametrize(
    ("delimiter", "message"),
    [
        (b"\n", b"\n"),
        (b"\n", b"two\nlines"),
        (b"\r\n", b"two\r\nlines"),
        # Together with the delimiter that follows, these end one byte too early.
        (b"aa", b"a"),
        (b"aa", b"banana"),
        (b"abab", b"xab"),
        (b"aaa", b"xaa"),
    ],
)
def test_a_message_cannot_have_its_delimiter_in_it(delimiter: bytes, message: bytes) -> None:
    framing = Lines(delimiter)
    for kind in (message, bytearray(message), memoryview(message)):
        with pytest.raises(FramingError, match="would arrive as two; take another delimiter"):
            framing.frame(kind)
        with pytest.raises(FramingError, match="would arrive as two"):
            framing.join([b"fine", kind])
    assert receive(framing, [message + delimiter]).messages != [message], "the refusal was right"


@pytest.mark.parametrize(
    ("delimiter", "message"),
    [(b"\r\n", b"\n"), (b"\r\n", b"\r"), (b"\r\n", b"\n\r"), (b"aa", b"ab"), (b"abab", b"aba")],
)
def test_a_message_can_have_parts_of_it(delimiter: bytes, message: bytes) -> None:
    framing = Lines(delimiter)
    wire = bytes(framing.join([message, message]))
    assert check_every_cut_is_the_same(framing, wire, [1]).messages == [message, message]


@pytest.mark.parametrize(
    ("stream", "messages", "left"),
    [
        (b"a", [], 1),
        (b"aa", [b""], 0),
        (b"aaa", [b""], 1),
        (b"aaaa", [b"", b""], 0),
        (b"baaab", [b"b"], 2),
        (b"babaab", [b"bab"], 1),
    ],
)
def test_an_overlapping_delimiter_is_the_leftmost_one(
    stream: bytes, messages: list[bytes], left: int
) -> None:
    for size in (1, 2, 3, 10):
        received = check_every_cut_is_the_same(Lines(b"aa"), stream, [size])
        assert received.messages == messages
        if left:
            assert isinstance(received.fault, IncompleteMessage)
            assert (received.fault.received, received.fault.expected) == (left, None)
        else:
            assert received.fault is None


def test_the_limit_leaves_the_delimiter_out() -> None:
    framing = Lines(b"\r\n", max_size=3)
    splitter = framing.splitter()
    # Its first byte may have come already.
    assert list(splitter.split(b"abc\r")) == []
    assert list(splitter.split(b"\nabc\r\n")) == [b"abc", b"abc"]
    splitter.end()
    splitter = framing.splitter()
    # Four bytes that may be three and a delimiter's first, and then are not.
    assert list(splitter.split(b"abcd")) == []
    with pytest.raises(MessageTooLarge, match=r"of 5 bytes is too large: .* 3 bytes"):
        list(splitter.split(b"e"))


def test_what_never_ends_is_refused_when_too_much_has_come() -> None:
    splitter = Lines(max_size=10).splitter()
    assert list(splitter.split(b"12345")) == []
    assert list(splitter.split(b"67890")) == []
    with pytest.raises(MessageTooLarge, match=r"of 11 bytes is too large: .* 10 bytes"):
        list(splitter.split(b"1"))
