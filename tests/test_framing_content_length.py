"""ContentLength: the headers that editors send, and invalid ones."""

from __future__ import annotations

import pytest

from ipcpipes.errors import FramingError, IncompleteMessage, MessageTooLarge
from ipcpipes.framing import ContentLength

from .receiving import check_every_cut_is_the_same, receive

HELLO = b"Content-Length: 5\r\n\r\nhello"


def fault_of(stream: bytes, max_size: int = 200) -> FramingError:
    """Returns why the stream is refused, and checks that a good message before it arrives."""
    received = check_every_cut_is_the_same(ContentLength(max_size), HELLO + stream, [1, 5])
    assert received.messages == [b"hello"]
    assert received.fault is not None
    return received.fault


def test_the_bytes_on_the_wire() -> None:
    framing = ContentLength()
    messages = [b"hello", b"", b"!", b'{"jsonrpc": "2.0"}']
    wire = (
        HELLO
        + b"Content-Length: 0\r\n\r\n"
        + b"Content-Length: 1\r\n\r\n!"
        + b'Content-Length: 18\r\n\r\n{"jsonrpc": "2.0"}'
    )
    assert framing.join(messages) == wire
    assert b"".join(b"".join(framing.frame(message)) for message in messages) == wire
    for size in range(1, 30):
        assert check_every_cut_is_the_same(framing, wire, [size]).messages == messages


@pytest.mark.parametrize(
    "header",
    [
        b"content-length: 5",
        b"CONTENT-LENGTH:5",
        b"Content-Length:\t 5 \t",
        b"Content-Length: 0005",
        # Content-Type as vscode-jsonrpc sends it, before or after the length.
        b"Content-Length: 5\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8",
        b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: 5",
        b"X-Empty:\r\nContent-Length: 5\r\nX-Colons: a:b:c",
        # Twice the same length is valid (as in HTTP: RFC 9110, section 8.6).
        b"Content-Length: 5\r\ncontent-length: 05",
    ],
)
def test_valid_headers_are_accepted(header: bytes) -> None:
    received = check_every_cut_is_the_same(ContentLength(), (header + b"\r\n\r\nhello") * 2, [1, 7])
    assert (received.messages, received.end) == ([b"hello", b"hello"], "")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"+5",
        b"-5",
        b"-0",
        b"5.0",
        b"0x5",
        b"1_0",
        b"5 5",
        b"5,5",
        b"5\x0b",
        b"\xc2\xb2",  # superscript two, in UTF-8
        "\N{ARABIC-INDIC DIGIT FIVE}".encode(),
        b"\xb2",  # and in Latin-1
        b"five",
        b"1" * 20,
        b"%d" % (2**64 - 1),
    ],
)
def test_invalid_content_lengths_are_refused(value: bytes) -> None:
    fault = fault_of(b"Content-Length: " + value + b"\r\n\r\nhello")
    assert type(fault) is FramingError
    assert str(fault).startswith("not a Content-Length: b")


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"", "not a header field: b''"),
        (b"hello", "not a header field: b'hello'"),
        (b": 5", "not a header field: b': 5'"),
        (b" Content-Length: 5", "not a header field: b' Content-Length: 5'"),
        (b"Content-Length : 5", "not a header field: b'Content-Length : 5'"),
        (b"Content-Length: 5\r\n folded", r"not a header field: b' folded'"),
        (b"Content-Type: text/plain", "no Content-Length in b'Content-Type: text/plain'"),
        (b"Content_Length: 5", "no Content-Length in b'Content_Length: 5'"),
        (
            b"Content-Length: 5\r\nContent-Length: 6",
            r"two different Content-Length in b'Content-Length: 5\r\nContent-Length: 6'",
        ),
        (b"x" * 4000, f"not a header field: b'{'x' * 80}'"),
    ],
)
def test_invalid_headers_are_refused(header: bytes, text: str) -> None:
    fault = fault_of(header + b"\r\n\r\nhello")
    assert type(fault) is FramingError
    assert str(fault) == text


@pytest.mark.parametrize(
    ("stream", "shown"),
    [
        (b"\x05\0\0\0hello", rb"\x05\x00"),  # LengthPrefixed
        (b"\0\0\0\x05hello", rb"\x00"),  # and in network byte order
        (b'{"jsonrpc": "2.0"}\n', rb'{"jsonrpc": "2.0"}\n'),  # Lines
        (b"Content-Length: 5\n\nhello", rb"Content-Length: 5\n"),
        (b"Content-Length: 5\n\r\n\r\nhello", rb"Content-Length: 5\n"),
        (b"\nContent-Length: 5\r\n\r\nhello", rb"\n"),
        (b"x" * 4099 + b"\n", b"x" * 80),
    ],
)
def test_other_framings_are_refused_at_once(stream: bytes, shown: bytes) -> None:
    fault = fault_of(stream)
    assert type(fault) is FramingError
    assert shown.decode() in str(fault)
    assert str(fault).endswith("; both ends need the same framing")


def test_header_section_above_limit_is_refused() -> None:
    most = b"Content-Length: 5\r\nX: "
    most += b"x" * (4096 - len(most))
    received = check_every_cut_is_the_same(ContentLength(), (most + b"\r\n\r\nhello") * 2, [1000])
    assert received.messages == [b"hello"] * 2
    for stream in (most + b"x\r\n\r\nhello", most + b"x" * 10_000, b"junk" * 2000):
        fault = fault_of(stream)
        assert type(fault) is FramingError
        assert str(fault) == "a header section above 4,096 bytes"


def test_unfinished_header_section_is_refused_at_the_limit() -> None:
    splitter = ContentLength().splitter()
    assert list(splitter.split(b"x" * 4099)) == []
    with pytest.raises(FramingError, match="above 4,096 bytes"):
        list(splitter.split(b"x"))


@pytest.mark.parametrize("size", [201, 2**32 - 1, 2**63 - 1, 2**63, 10**19 - 1])
def test_announced_size_above_max_size_is_refused(size: int) -> None:
    fault = fault_of(b"Content-Length: %d\r\n\r\n" % size)
    assert isinstance(fault, MessageTooLarge)
    assert (fault.size, fault.max_size) == (size, 200)


@pytest.mark.parametrize("size", [1, 2, 10, 200])
def test_where_the_stream_ended(size: int) -> None:
    header = b"Content-Length: %d\r\nContent-Type: x\r\n\r\n" % size
    wire = header + bytes(size)
    for length in range(1, len(wire)):
        fault = receive(ContentLength(200), [wire[:length]]).fault
        assert isinstance(fault, IncompleteMessage)
        # The header section is counted too.
        assert fault.received == length
        assert fault.expected == (None if length < len(header) else len(wire))
    for length in (len(header) - 1, len(header), len(wire) - 1):
        assert check_every_cut_is_the_same(ContentLength(200), wire[:length], [1]).messages == []
