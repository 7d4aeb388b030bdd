"""Headers: which handles came with which message, on every system."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import trio
from hypothesis import given, strategies

from ipcpipes import FramingError, IncompleteMessage, LengthPrefixed
from ipcpipes._os.handles.headers import (
    NO_HANDLES,
    HandleHeaderReader,
    HandleHeaderSplitter,
    handle_header,
)
from ipcpipes.abc import HasFileno

US = 4711
NUMBERS = strategies.lists(strategies.integers(1, 2**31 - 1), min_size=1, max_size=253, unique=True)


class System:
    """Handles of no process; it records what happened to them."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.closed: list[int] = []

    @contextmanager
    def giving(self, descriptors: Sequence[int | HasFileno]) -> Iterator[bytes]:
        raise NotImplementedError("nothing is sent here")
        yield b""

    def take(self, process: int, numbers: Sequence[int]) -> None:
        if process != US:
            raise FramingError("not ours")
        self.taken += numbers

    def close(self, number: int) -> None:
        self.closed.append(number)


Arrived = deque[tuple[bytes, list[int]]]


def header_reader(most: int = 253) -> tuple[HandleHeaderReader, System, Arrived]:
    system = System()
    arrived: Arrived = deque()
    return HandleHeaderReader(most, arrived, system), system, arrived


@given(NUMBERS, strategies.binary())
def test_header_is_read_back(numbers: list[int], message: bytes) -> None:
    incoming, system, arrived = header_reader()
    for part in (NO_HANDLES, message, handle_header(US, numbers), message, NO_HANDLES, NO_HANDLES):
        incoming.append(part)
    assert list(arrived) == [(message, []), (message, numbers), (NO_HANDLES, [])]
    assert system.taken == numbers
    incoming.end()
    incoming.close()
    assert sorted(system.closed) == sorted(numbers)


@given(strategies.binary() | strategies.from_regex(rb"handles [0-9a-f ]*", fullmatch=True))
def test_bad_header_is_refused_and_touches_no_handle(part: bytes) -> None:
    incoming, system, arrived = header_reader()
    try:
        incoming.append(part)
    except FramingError:
        assert not system.taken
    else:
        assert part == NO_HANDLES or part == handle_header(US, system.taken)
    assert not arrived
    assert not system.closed


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_headers_are_split_from_a_stream(size: int) -> None:
    incoming, _, arrived = header_reader()
    framing = LengthPrefixed(2)
    splitter = HandleHeaderSplitter(framing.splitter(), incoming)
    wire = framing.join(
        [handle_header(US, [4, 8]), b"first", NO_HANDLES, bytes(300), handle_header(US, [12]), b""]
    )
    for start in range(0, len(wire), size):
        arrived.extend(splitter.split(bytes(wire[start : start + size])))
    splitter.end()
    assert list(arrived) == [(b"first", [4, 8]), (bytes(300), []), (b"", [12])]


def test_end_after_a_header_is_incomplete() -> None:
    incoming, system, _ = header_reader()
    splitter = HandleHeaderSplitter(LengthPrefixed().splitter(), incoming)
    assert not list(splitter.split(bytes(LengthPrefixed().join([handle_header(US, [4])]))))
    with pytest.raises(IncompleteMessage):
        splitter.end()
    incoming.close()
    assert system.closed == [4]


def test_too_many_handles_are_closed_after_good_messages() -> None:
    incoming, system, arrived = header_reader(most=1)
    parts = [handle_header(US, [4]), b"good", handle_header(US, [8, 12]), b"bad"]
    with pytest.raises(FramingError, match="2 descriptors came with one message"):
        arrived.extend(incoming.pairs(parts))
    assert list(arrived) == [(b"good", [4])]
    assert sorted(system.closed) == [8, 12]


def test_handles_received_after_closing_are_closed() -> None:
    incoming, system, _ = header_reader()
    incoming.close()
    with pytest.raises(trio.ClosedResourceError):
        incoming.append(handle_header(US, [4]))
    assert system.closed == [4]


def test_plain_receive_closes_the_handles() -> None:
    incoming, system, arrived = header_reader()
    arrived.extend(incoming.pairs([handle_header(US, [4]), b"a", handle_header(US, [8]), b"b"]))
    incoming.close_first(1)
    assert system.closed == [4]
    assert list(arrived) == [(b"a", []), (b"b", [8])]
