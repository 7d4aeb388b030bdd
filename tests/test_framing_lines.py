"""Lines: delimiters of one byte and more, and delimiters that overlap with themselves."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes.errors import FramingError, IncompleteMessage, MessageTooLarge
from ipcpipes.framing import Lines

from . import drivers
from .conftest import WINDOWS
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
def test_delimiter_must_be_bytes(delimiter: Any) -> None:
    with pytest.raises(TypeError, match=r"^delimiter must be bytes, not [^\n]+$"):
        Lines(delimiter)


def test_empty_delimiter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^delimiter must be one byte or more$"):
        Lines(b"")


@pytest.mark.parametrize(
    ("delimiter", "message"),
    [
        (b"\n", b"\n"),
        (b"\n", b"two\nlines"),
        (b"\r\n", b"two\r\nlines"),
        # These form a delimiter with the beginning of the one that follows, and end too early.
        (b"aa", b"a"),
        (b"aa", b"banana"),
        (b"abab", b"xab"),
        (b"aaa", b"xaa"),
    ],
)
def test_message_with_its_delimiter_is_refused(delimiter: bytes, message: bytes) -> None:
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
def test_message_with_a_part_of_its_delimiter_arrives(delimiter: bytes, message: bytes) -> None:
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
def test_leftmost_of_overlapping_delimiters_counts(
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


def test_max_size_excludes_the_delimiter() -> None:
    framing = Lines(b"\r\n", max_size=3)
    splitter = framing.splitter()
    # The first byte of the delimiter may arrive before the second.
    assert list(splitter.split(b"abc\r")) == []
    assert list(splitter.split(b"\nabc\r\n")) == [b"abc", b"abc"]
    splitter.end()
    splitter = framing.splitter()
    # The fourth byte could be the first of a delimiter; the fifth shows that it is not.
    assert list(splitter.split(b"abcd")) == []
    with pytest.raises(MessageTooLarge, match=r"of 5 bytes is too large: .* 3 bytes"):
        list(splitter.split(b"e"))


def test_endless_line_is_refused_above_max_size() -> None:
    splitter = Lines(max_size=10).splitter()
    assert list(splitter.split(b"12345")) == []
    assert list(splitter.split(b"67890")) == []
    with pytest.raises(MessageTooLarge, match=r"of 11 bytes is too large: .* 10 bytes"):
        list(splitter.split(b"1"))


@pytest.mark.parametrize(
    ("wire", "messages"),
    [
        (b"one\ntwo\r\nthree\n", [b"one", b"two", b"three"]),
        (b"\r\n\n\r\n", [b"", b"", b""]),
        (b"a\r\r\n", [b"a\r"]),
        (b"\ra\rb\n", [b"\ra\rb"]),
    ],
)
def test_crlf_and_lf_both_end_lines(wire: bytes, messages: list[bytes]) -> None:
    for size in range(1, 8):
        received = check_every_cut_is_the_same(Lines(accept_crlf=True), wire, [size])
        assert (received.messages, received.fault) == (messages, None)
    assert receive(Lines(), [wire]).messages != messages or b"\r\n" not in wire


def test_max_size_excludes_crlf() -> None:
    framing = Lines(max_size=3, accept_crlf=True)
    for wire in (b"abc\n", b"abc\r\n"):
        for parts in ([wire], [wire[:1], wire[1:]], [wire[:4], wire[4:]]):
            assert receive(framing, parts).messages == [b"abc"]
        assert framing.splitter().only(wire) == b"abc"
    for wire in (b"abcd\n", b"abcd\r\n", b"abcde", b"abc\r\r\n"):
        assert isinstance(receive(framing, [wire]).fault, MessageTooLarge), wire
        assert framing.splitter().only(wire) is None


def test_message_that_ends_with_cr_is_refused() -> None:
    framing = Lines(accept_crlf=True)
    with pytest.raises(FramingError, match=r"ends with \\r, which the receiver would remove"):
        framing.frame(b"carriage\r")
    assert framing.join([b"a\rb"]) == b"a\rb\n"
    assert Lines().join([b"carriage\r"]) == b"carriage\r\n"


def test_unterminated_last_line_is_a_message_if_accepted() -> None:
    for framing in (Lines(accept_unterminated=True), Lines(b"--", accept_unterminated=True)):
        end = framing.delimiter
        for wire, messages in (
            (b"one" + end + b"two", [b"one", b"two"]),
            (b"one" + end, [b"one"]),
            (b"one", [b"one"]),
            (b"", []),
        ):
            for size in range(1, 8):
                received = check_every_cut_is_the_same(framing, wire, [size])
                assert (received.messages, received.fault) == (messages, None)
    both = Lines(accept_crlf=True, accept_unterminated=True)
    assert receive(both, [b"one\r\ntwo\r"]).messages == [b"one", b"two\r"]
    assert receive(Lines(b"--", accept_unterminated=True), [b"one-"]).messages == [b"one-"]
    short = Lines(max_size=2, accept_unterminated=True, accept_crlf=True)
    assert isinstance(receive(short, [b"abc"]).fault, MessageTooLarge)


@pytest.mark.parametrize("name", ["accept_crlf", "accept_unterminated"])
def test_options_of_lines_must_be_bools(name: str) -> None:
    options: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError, match=f"^{name} must be a bool, not 1$"):
        Lines(**options)


def test_accept_crlf_needs_the_newline_delimiter() -> None:
    with pytest.raises(ValueError, match=r"^accept_crlf needs the delimiter b'?\"?\\n"):
        Lines(b"\0", accept_crlf=True)


@pytest.mark.parametrize("doors", [ipcpipes, drivers], ids=["trio", "blocking"])
@pytest.mark.parametrize("max_descriptors", [0, 1])
@pytest.mark.parametrize("many", [False, True])
async def test_channel_delivers_unterminated_last_line(
    doors: Any, max_descriptors: int, many: bool
) -> None:
    """The peer writes plain text, without a framing."""
    if max_descriptors and WINDOWS:
        pytest.skip("on Windows, max_descriptors puts a header before each message")
    framing = Lines(accept_crlf=True, accept_unterminated=True)
    listener = await doors.listen_messages(
        ipcpipes.testing.unique_endpoint(), framing=framing, max_descriptors=max_descriptors
    )
    async with listener:
        stream = await ipcpipes.connect(listener.endpoint)
        async with await listener.accept() as channel:
            await stream.send_all(b"one\r\ntwo\nthr")
            assert await channel.receive() == b"one"
            assert await channel.receive() == b"two"
            await stream.send_all(b"ee")
            await stream.aclose()
            if many:
                assert await channel.receive_many() == [b"three"]
            elif max_descriptors:
                assert await channel.receive_descriptors() == (b"three", [])
            else:
                assert await channel.receive() == b"three"
            for _ in range(2):
                with pytest.raises(trio.EndOfChannel):
                    await channel.receive()
