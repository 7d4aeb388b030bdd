"""Properties that hold for any bytes, in any parts. Hypothesis searches for counterexamples.

``nox -s fuzz`` searches longer, and ``nox -s sanitize`` runs this with more examples.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipcpipes.errors import FramingError, IncompleteMessage, MessageTooLarge
from ipcpipes.framing import ContentLength, Framing, LengthPrefixed, Lines

from . import content_length_model, length_prefixed_model
from .receiving import check_every_cut_is_the_same, in_parts, receive

EXAMPLES = os.environ.get("IPCPIPES_EXAMPLES")
PROFILE = settings(
    # On a busy machine a single example can take arbitrarily long.
    deadline=None,
    max_examples=int(EXAMPLES or 100),
    # The gate always uses the same examples, so that only a change can make it fail. Other runs
    # draw new ones.
    derandomize="CI" in os.environ and not EXAMPLES,
)

WIDTHS = (1, 2, 4, 8)
ORDERS = ("little", "big")
DELIMITERS = (b"\n", b"\0", b"\r\n", b"aa", b"aba", b"--end--")
# Small limits, so that examples reach them often.
LIMITS = st.sampled_from([1, 2, 3, 10, 255, 1000])

PREFIXED = st.builds(
    LengthPrefixed, st.sampled_from(WIDTHS), st.sampled_from(ORDERS), max_size=LIMITS
)
LINES = st.builds(Lines, st.sampled_from(DELIMITERS), max_size=LIMITS)
CONTENT = st.builds(ContentLength, max_size=LIMITS)

# Sizes of parts, which are repeated.
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def pieces(*kinds: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A stream of such pieces, with random bytes between them."""
    return st.lists(st.one_of(*kinds, st.binary(max_size=30)), max_size=20).map(b"".join)


def prefixed_streams(framing: LengthPrefixed) -> st.SearchStrategy[bytes]:
    most = 2 ** (8 * framing.width) - 1
    near = st.sampled_from([0, 1, 2, framing.max_size, framing.max_size + 1, 2**63, most])
    lengths = (st.integers(0, 12) | near).map(lambda length: framing.prefix.pack(min(length, most)))
    return pieces(lengths, messages_for(framing).map(lambda m: bytes(framing.join([m]))))


def lines_streams(framing: Lines) -> st.SearchStrategy[bytes]:
    parts = st.sampled_from([framing.delimiter, framing.delimiter[:1], framing.delimiter[1:]])
    return pieces(parts, st.integers(0, 1002).map(lambda count: b"x" * count))


def content_streams(framing: ContentLength) -> st.SearchStrategy[bytes]:
    words = st.sampled_from(
        [b"Content-Length: ", b"content-length:", b"X: y\r\n", b"\r\n", b"\r\n\r\n", b"%d" % 2**64]
    )
    fields = st.integers(0, 3).map(lambda size: b"Content-Length: %d\r\n" % size)
    number = st.integers(0, framing.max_size + 1)
    headers = number.map(lambda size: b"Content-Length: %d\r\n\r\n" % size)
    whole = messages_for(framing).map(lambda message: bytes(framing.join([message])))
    return pieces(
        words, fields, headers, whole, st.integers(0, 4100).map(lambda count: b"x" * count)
    )


def messages_for(framing: Framing) -> st.SearchStrategy[bytes]:
    messages = st.binary(max_size=min(framing.max_size, 300))
    if isinstance(framing, Lines):
        return messages.filter(lambda message: can_be_framed(framing, message))
    return messages


def can_be_framed(framing: Framing, message: bytes) -> bool:
    try:
        framing.frame(message)
    except FramingError:
        return False
    return True


STREAMS: dict[str, Any] = {
    "LengthPrefixed": (PREFIXED, prefixed_streams),
    "Lines": (LINES, lines_streams),
    "ContentLength": (CONTENT, content_streams),
}
every_framing = pytest.mark.parametrize("kind", STREAMS)


@every_framing
@PROFILE
@given(st.data())
def test_any_bytes_in_any_parts_give_the_same_messages(kind: str, data: st.DataObject) -> None:
    framings, streams = STREAMS[kind]
    framing: Framing = data.draw(framings)
    check_every_cut_is_the_same(framing, data.draw(streams(framing)), data.draw(CUTS))


@every_framing
@PROFILE
@given(st.data())
def test_sent_messages_arrive(kind: str, data: st.DataObject) -> None:
    framing: Framing = data.draw(STREAMS[kind][0])
    messages = data.draw(st.lists(messages_for(framing), max_size=20))
    wire = bytes(framing.join(messages))
    assert wire == b"".join(b"".join(framing.frame(message)) for message in messages)
    received = check_every_cut_is_the_same(framing, wire, data.draw(CUTS))
    assert (received.messages, received.end) == (messages, "")
    # However much is missing at the end, no wrong message arrives.
    cut_off = receive(framing, [wire[: data.draw(st.integers(0, len(wire)))]])
    assert cut_off.messages == messages[: len(cut_off.messages)]
    assert cut_off.fault is None or type(cut_off.fault) is IncompleteMessage


@pytest.mark.parametrize("byteorder", ORDERS)
@pytest.mark.parametrize("width", WIDTHS)
@PROFILE
@given(st.data())
def test_c_code_agrees_with_the_reference(width: Any, byteorder: Any, data: st.DataObject) -> None:
    framing = LengthPrefixed(width, byteorder, data.draw(LIMITS))
    stream = data.draw(prefixed_streams(framing))
    messages, fault = length_prefixed_model.split(framing, stream)
    received = receive(
        framing, in_parts(stream, data.draw(CUTS)), in_place=data.draw(st.booleans())
    )
    assert received.messages == messages
    assert (type(received.fault), str(received.fault)) == (type(fault), str(fault))
    assert framing.join(messages) == length_prefixed_model.joined(framing, messages)
    if fault is None:
        assert framing.join(messages) == stream


@PROFILE
@given(st.data())
def test_lines_agree_with_bytes_split(data: st.DataObject) -> None:
    framing = data.draw(LINES)
    stream = data.draw(lines_streams(framing))
    *messages, rest = stream.split(framing.delimiter)
    good = next(
        (n for n, message in enumerate(messages) if len(message) > framing.max_size), len(messages)
    )
    received = receive(framing, in_parts(stream, data.draw(CUTS)))
    assert received.messages == messages[:good]
    # The last bytes of the rest may be the beginning of a delimiter.
    if good < len(messages) or len(rest) >= framing.max_size + len(framing.delimiter):
        assert isinstance(received.fault, MessageTooLarge)
    elif rest:
        assert received.end == f"IncompleteMessage: {IncompleteMessage(len(rest))}"
    else:
        assert received.fault is None


@PROFILE
@given(st.data())
def test_headers_agree_with_the_model(data: st.DataObject) -> None:
    framing = data.draw(CONTENT)
    stream = data.draw(content_streams(framing))
    received = receive(framing, in_parts(stream, data.draw(CUTS)))
    messages, fault = content_length_model.split(stream, framing.max_size)
    assert received.messages == messages
    assert type(received.fault) is (fault or type(None))


@PROFILE
@given(LINES, st.binary(max_size=30) | st.text("ab-end\r\n", max_size=12).map(str.encode))
def test_lines_refuse_only_messages_that_would_arrive_changed(
    framing: Lines, message: bytes
) -> None:
    arrives = receive(Lines(framing.delimiter), [message + framing.delimiter])
    assert can_be_framed(framing, message) == (arrives.messages == [message] and not arrives.fault)
