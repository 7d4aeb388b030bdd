"""Memory stays within max_size and a constant, whatever size is announced and however much arrives.

Memory for a body of an announced size up to max_size is allocated at once, as zero pages that cost
nothing until they are filled. tracemalloc counts all of it.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import pytest

from ipcpipes.errors import FramingError
from ipcpipes.framing import ContentLength, Framing, LengthPrefixed, Lines

MAX_SIZE = 2**18
# The size of one read. The channel holds it, so it is not part of the bound.
PART = 16 * 1024
# An unfinished header section, the objects, and the inaccuracy of tracemalloc.
CONSTANT = 16 * 1024

ANNOUNCED = [1, 2, 1000, MAX_SIZE - 1, MAX_SIZE, MAX_SIZE + 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def most_held(framing: Framing, *beginning: bytes, filler: bytes) -> tuple[int, int]:
    """Returns the most memory that the splitter holds between two parts, and how much it was given.

    It gets the parts of the beginning, and then ``filler`` until it raises or has had three times
    ``max_size``. Every second part goes through its own buffer, if it has one.
    """
    before = tracemalloc.get_traced_memory()[0]
    splitter = framing.splitter()
    held = given = 0
    try:
        for number, part in enumerate(chain(beginning, repeat(filler))):
            if given > 3 * framing.max_size:
                break
            buffer = splitter.get_buffer() if number % 2 else None
            size = len(part) if buffer is None else min(len(buffer), PART)
            messages = splitter.split(part) if buffer is None else splitter.buffer_updated(size)
            given += size
            # From here on only the splitter holds memory.
            buffer = None
            for message in messages:
                assert len(message) <= framing.max_size
            messages, message = (), b""
            held = max(held, tracemalloc.get_traced_memory()[0] - before)
    except FramingError:
        pass
    return held, given


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("announced", ANNOUNCED)
def test_announced_size_allocates_at_most_max_size(announced: int) -> None:
    framings: list[tuple[Framing, bytes]] = [
        (LengthPrefixed(8, "big", MAX_SIZE), announced.to_bytes(8, "big")),
        (ContentLength(MAX_SIZE), b"Content-Length: %d\r\n\r\n" % announced),
    ]
    filler = b"\xff" * PART
    for framing, wire in framings:
        for beginning in ([wire], [wire[:-1], wire[-1:]], [wire + b"x"]):
            held, given = most_held(framing, *beginning, filler=filler)
            assert held <= MAX_SIZE + CONSTANT, framing
            if announced > MAX_SIZE:
                assert held <= CONSTANT, "refused before memory is taken"
                assert given <= len(wire) + 1


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("delimiter", [b"\n", b"\r\n", b"x" * 64 + b"y"])
def test_endless_lines_hold_bounded_memory(delimiter: bytes) -> None:
    for filler, max_size in ((b"x" * PART, MAX_SIZE), (b"x", 5_000), (delimiter[0:1], 5_000)):
        if filler == delimiter:
            continue
        framing = Lines(delimiter, max_size)
        held, given = most_held(framing, filler=filler)
        assert given <= framing.max_size + len(delimiter) + len(filler)
        # A bytearray grows by an eighth more than it is asked for.
        assert held <= framing.max_size * 9 / 8 + CONSTANT


@pytest.mark.usefixtures("traced")
def test_endless_headers_hold_bounded_memory() -> None:
    for filler in (b"x" * PART, b"x", b"X: y\r\n"):
        held, given = most_held(ContentLength(MAX_SIZE), filler=filler)
        assert held <= CONSTANT
        assert given <= 4100 + len(filler)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("kind", [LengthPrefixed, Lines, ContentLength])
def test_delivered_messages_are_not_kept(kind: Callable[..., Framing]) -> None:
    framing = kind(max_size=MAX_SIZE)
    messages = bytes(framing.join([b"x" * 1000] * 16))
    held, given = most_held(framing, filler=messages)
    assert given >= 3 * MAX_SIZE
    assert held <= 2 * CONSTANT


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("framing", [LengthPrefixed(), ContentLength()], ids=repr)
def test_large_message_is_in_memory_once(framing: Framing) -> None:
    wire = bytes(framing.join([bytes(MAX_SIZE)]))
    splitter = framing.splitter()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    messages: list[bytes] = []
    for start in range(0, len(wire), PART):
        messages += splitter.split(wire[start : start + PART])
    assert len(messages) == 1
    assert tracemalloc.get_traced_memory()[1] - before <= MAX_SIZE + PART + CONSTANT
