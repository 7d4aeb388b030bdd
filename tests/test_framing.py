"""What all framings have in common: limits, sizes and values; and a user-defined framing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from ipcpipes import errors
from ipcpipes.errors import FramingError, IncompleteMessage, MessageTooLarge
from ipcpipes.framing import NATIVE, Buffer, ContentLength, Framing, LengthPrefixed, Lines, Splitter
from ipcpipes.framing.native import Native

from .receiving import check_every_cut_is_the_same, in_parts, receive

FRAMINGS: list[Framing] = [
    *(LengthPrefixed(width=width, byteorder="big") for width in (1, 2, 8)),
    LengthPrefixed(),
    Lines(),
    Lines(delimiter=b"\r\n"),
    ContentLength(),
]
WITH_LIMIT: list[Callable[..., Any]] = [LengthPrefixed, Lines, ContentLength, Native]
any_framing = pytest.mark.parametrize("framing", FRAMINGS, ids=repr)


# The limit


@pytest.mark.parametrize("kind", WITH_LIMIT)
@pytest.mark.parametrize("size", [0, -1, 2**63, 2**64])
def test_max_size_out_of_range_is_refused(kind: Callable[..., Any], size: int) -> None:
    with pytest.raises(ValueError, match=r"^max_size must be 1 to 2\*\*63 - 1 bytes, not -?\d+$"):
        kind(max_size=size)


@pytest.mark.parametrize("kind", WITH_LIMIT)
@pytest.mark.parametrize("size", ["4096", 4096.0, None, True])
def test_max_size_must_be_an_int(kind: Callable[..., Any], size: object) -> None:
    with pytest.raises(TypeError, match=r"^max_size must be an int, not [^\n]+$"):
        kind(max_size=size)


@pytest.mark.parametrize("kind", WITH_LIMIT)
def test_default_max_size_is_16_mib(kind: Callable[..., Any]) -> None:
    assert kind().max_size == 16 * 2**20
    assert kind(max_size=1).max_size == 1


@pytest.mark.parametrize("kind", [LengthPrefixed, Lines, ContentLength])
def test_message_of_max_size_arrives_and_larger_is_refused(kind: Callable[..., Framing]) -> None:
    framing, larger = kind(max_size=1000), kind(max_size=1001)
    most, above = b"x" * 1000, b"x" * 1001
    assert receive(framing, [bytes(framing.join([most, most]))]).messages == [most, most]
    refused = check_every_cut_is_the_same(framing, bytes(larger.join([most, above])), [7])
    assert refused.messages == [most]
    assert isinstance(refused.fault, MessageTooLarge)
    assert (refused.fault.size, refused.fault.max_size) == (1001, 1000)
    assert str(refused.fault) == (
        "a message of 1,001 bytes is too large: the limit is max_size, 1,000 bytes"
    )


@pytest.mark.parametrize("kind", [LengthPrefixed, Lines, ContentLength])
def test_frame_and_join_do_not_check_max_size(kind: Callable[..., Framing]) -> None:
    # A channel checks max_size once for each message, before it calls these.
    framing, message = kind(max_size=3), b"four"
    assert b"".join(framing.frame(message)) == framing.join([message])


@pytest.mark.parametrize(
    ("framing", "stream"),
    [
        (LengthPrefixed(width=8, max_size=2**63 - 1), (2**62).to_bytes(8, "little")),
        (LengthPrefixed(width=8, max_size=2**63 - 1), (2**63 - 1).to_bytes(8, "little")),
        (ContentLength(max_size=2**63 - 1), b"Content-Length: %d\r\n\r\n" % 2**62),
        (ContentLength(max_size=2**63 - 1), b"Content-Length: %d\r\n\r\n" % (2**63 - 1)),
    ],
    ids=repr,
)
def test_message_larger_than_memory_is_refused(framing: Framing, stream: bytes) -> None:
    received = receive(framing, [bytes(framing.join([b"before"])) + stream])
    assert received.messages == [b"before"]
    assert isinstance(received.fault, MessageTooLarge)
    assert "there is not that much memory; the limit is max_size, 9,22" in str(received.fault)


# Messages


@any_framing
def test_empty_messages_are_messages(framing: Framing) -> None:
    messages = [b"", b"", b"between", b""]
    data = framing.join(messages)
    assert data == b"".join(b"".join(framing.frame(message)) for message in messages)
    assert check_every_cut_is_the_same(framing, bytes(data), [1]).messages == messages


@any_framing
def test_empty_stream_has_no_messages(framing: Framing) -> None:
    assert receive(framing, []).messages == []
    assert framing.join([]) == b""


@any_framing
def test_borrowed_memory_is_framed_like_bytes(framing: Framing) -> None:
    plain = b"some memory"
    kinds: list[Buffer] = [plain, bytearray(plain), memoryview(plain), memoryview(plain * 2)[:11]]
    for kind in kinds:
        assert b"".join(framing.frame(kind)) == b"".join(framing.frame(plain))
        assert framing.join([kind]) == framing.join([plain])
    assert framing.join(kinds) == framing.join([plain] * 4)


@pytest.mark.parametrize("framing", [LengthPrefixed(), ContentLength()], ids=repr)
def test_large_messages_are_framed_without_a_copy(framing: Framing) -> None:
    message = memoryview(bytearray(100_000))
    assert framing.frame(message)[-1] is message


@any_framing
def test_splitters_are_independent(framing: Framing) -> None:
    data = bytes(framing.join([b"one"]))
    begun, other = framing.splitter(), framing.splitter()
    assert list(begun.split(data[:2])) == []
    assert list(other.split(data)) == [b"one"]
    assert list(begun.split(data[2:])) == [b"one"]


@pytest.mark.parametrize(
    "framing", [LengthPrefixed(), LengthPrefixed(width=1), ContentLength()], ids=repr
)
def test_rest_of_message_is_received_in_place(framing: Framing) -> None:
    message = bytes(range(200))
    data = bytes(framing.join([message]))
    splitter = framing.splitter()
    assert splitter.get_buffer() is None, "nothing is known yet"
    assert list(splitter.split(data[:-100])) == []
    for left in (100, 60):
        buffer = splitter.get_buffer()
        assert buffer is not None
        assert len(buffer) == left
        if left == 100:
            buffer[:40] = message[100:140]
            assert list(splitter.buffer_updated(40)) == []
    # Bytes given to split belong to the same message, and the bytes after it are not lost.
    assert list(splitter.split(data[-60:-10])) == []
    with pytest.raises(IncompleteMessage):
        splitter.end()
    assert list(splitter.split(data[-10:] + data + data[:-5])) == [message, message]
    assert splitter.get_buffer() is not None
    assert list(splitter.split(data[-5:])) == [message]
    assert splitter.get_buffer() is None
    splitter.end()


@any_framing
def test_messages_before_a_fault_are_delivered(framing: Framing) -> None:
    good = [b"one", b"", b"two"]
    data = bytes(framing.join(good))
    cut_off = bytes(framing.join([b"never whole"]))[:-1]
    for sizes in ([1], [2, 3], [1000]):
        received = receive(framing, in_parts(data + cut_off, sizes))
        assert received.messages == good
        assert type(received.fault) is IncompleteMessage


def test_messages_in_the_same_bytes_as_a_fault_are_delivered() -> None:
    stream = b"\x03one\x03two\xffx"
    result = iter(LengthPrefixed(width=1, max_size=200).splitter().split(stream))
    assert next(result) == b"one"
    assert next(result) == b"two"
    with pytest.raises(MessageTooLarge):
        next(result)


# Values


@pytest.mark.parametrize(
    ("framing", "text"),
    [
        (LengthPrefixed(), "LengthPrefixed(width=4, byteorder='little', max_size=16777216)"),
        (
            Lines(b"\0", max_size=9, accept_unterminated=True),
            r"Lines(delimiter=b'\x00', max_size=9, accept_crlf=False, accept_unterminated=True)",
        ),
        (ContentLength(max_size=9), "ContentLength(max_size=9)"),
        (NATIVE, "Native(max_size=16777216)"),
    ],
)
def test_repr_of_framings(framing: object, text: str) -> None:
    assert repr(framing) == text


@pytest.mark.parametrize("framing", [*FRAMINGS, NATIVE], ids=repr)
def test_framings_can_be_copied_compared_and_pickled(framing: Any) -> None:
    for same in (pickle.loads(pickle.dumps(framing)), copy.deepcopy(framing), copy.copy(framing)):
        assert same == framing
        assert hash(same) == hash(framing)
        assert repr(same) == repr(framing)
    assert sum(framing == other for other in [*FRAMINGS, NATIVE]) == 1
    assert framing != type(framing)(max_size=17)
    with pytest.raises(AttributeError):
        framing.max_size = 1
    if isinstance(framing, Framing):
        again: Framing = pickle.loads(pickle.dumps(framing))
        assert again.join([b"a", b"b"]) == framing.join([b"a", b"b"])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            MessageTooLarge(5000, 4096),
            "a message of 5,000 bytes is too large: the limit is max_size, 4,096 bytes",
        ),
        (IncompleteMessage(3), "the stream ended inside a message, after 3 bytes of it"),
        (IncompleteMessage(3, 12), "the stream ended inside a message, after 3 of 12 bytes of it"),
    ],
)
def test_text_of_faults_is_one_line(error: FramingError, text: str) -> None:
    assert str(error) == text
    assert isinstance(error, (errors.IpcError, ValueError))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), text, vars(error))


# A user-defined framing: netstrings (D. J. Bernstein, 1997), "5:hello,"


class Netstrings(Framing):
    max_size = 50

    def frame(self, message: Buffer) -> Sequence[Buffer]:
        return (b"%d:" % len(message), message, b",")

    def splitter(self) -> Splitter:
        return NetstringSplitter(self.max_size)


class NetstringSplitter(Splitter):
    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._rest = b""

    def split(self, data: bytes) -> Iterable[bytes]:
        self._rest += data
        while len(self._rest) >= len(b"0:,"):
            digits, colon, body = self._rest.partition(b":")
            if not colon or not digits.isdigit() or len(digits) > 2:
                raise FramingError(f"not a netstring: {self._rest[:3]!r}")
            size = int(digits)
            if size > self._max_size:
                raise MessageTooLarge(size, self._max_size)
            if len(body) <= size:
                break
            if body[size : size + 1] != b",":
                raise FramingError(f"no comma after a netstring of {size} bytes")
            self._rest = body[size + 1 :]
            yield body[:size]

    def end(self) -> None:
        if self._rest:
            raise IncompleteMessage(len(self._rest))


def test_user_defined_framing() -> None:
    framing = Netstrings()
    messages = [b"hello", b"", b"x" * 50]
    data = bytes(framing.join(messages))
    assert data.startswith(b"5:hello,0:,50:xxx")
    for size in (1, 2, 5, 1000):
        assert check_every_cut_is_the_same(framing, data, [size]).messages == messages
        for stream, fault in (
            (b"1:", IncompleteMessage),
            (b"51:", MessageTooLarge),
            (b"100:", FramingError),
            (b"1:ab", FramingError),
        ):
            received = check_every_cut_is_the_same(framing, data + stream, [size])
            assert received.messages == messages
            assert type(received.fault) is fault
    splitter = framing.splitter()
    assert splitter.get_buffer() is None
    with pytest.raises(NotImplementedError, match="this splitter has no buffer"):
        splitter.buffer_updated(1)
