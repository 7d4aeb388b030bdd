"""The two C functions themselves: their results, and invalid arguments.

The package never passes invalid arguments. C refuses them, so that a mistake in Python does not
corrupt memory.
"""

from __future__ import annotations

from typing import Any

import pytest

from ipcpipes._ffi import ffi, lib

WIDTHS = (1, 2, 4, 8)
UNKNOWN = 2**64 - 1
GUARD = b"guard" * 4


def split(
    data: bytes,
    start: int = 0,
    *,
    length: int | None = None,
    width: int = 1,
    big_endian: bool = False,
    max_size: int = 200,
    capacity: int = 4,
) -> list[int] | None:
    """Returns the filled part of ``found``, or None for -1; checks that the rest is untouched."""
    room = 2 + 2 * min(capacity, 100)
    found = ffi.new("uint64_t[]", [7] * (room + 1))
    count = lib.ipc_split(
        data,
        start,
        len(data) if length is None else length,
        width,
        big_endian,
        max_size,
        found,
        capacity,
    )
    assert found[room] == 7
    if count == -1:
        assert list(found) == [7] * (room + 1), "a refusal writes nothing"
        return None
    assert 0 <= count <= capacity
    return ffi.unpack(found, 2 + 2 * count)  # type: ignore[return-value]


def join(
    payload: bytes,
    sizes: list[int],
    *,
    width: int = 1,
    big_endian: bool = False,
    payload_length: int | None = None,
    to_length: int | None = None,
    count: int | None = None,
) -> bytes | None:
    """Returns the written bytes, or None for -1; checks that memory after them is untouched."""
    room = len(payload) + len(sizes) * abs(width)
    to = ffi.new("char[]", bytes(room) + GUARD)
    failed = lib.ipc_join(
        payload,
        len(payload) if payload_length is None else payload_length,
        ffi.new("uint64_t[]", sizes),
        len(sizes) if count is None else count,
        width,
        big_endian,
        to,
        room if to_length is None else to_length,
    )
    written = ffi.unpack(to, room + len(GUARD))
    assert isinstance(written, bytes)
    assert written[room:] == GUARD
    assert failed in (0, -1)
    return None if failed else written[:room]


@pytest.mark.parametrize("width", [0, 3, 5, 6, 7, 9, 16, -1, -8, 2**31 - 1, -(2**31)])
def test_invalid_widths_are_refused(width: int) -> None:
    assert split(b"\1a\1b", width=width) is None
    to: Any = ffi.new("char[]", 100)
    sizes = ffi.new("uint64_t[]", [1])
    assert lib.ipc_join(b"a", 1, sizes, 1, width, False, to, 1 + (width & 0xF)) == -1


def test_start_beyond_the_end_is_refused() -> None:
    assert split(b"\1a", 3) is None
    assert split(b"\1a", 2**64 - 1) is None
    assert split(b"\1a", 1, length=0) is None


def test_capacity_that_overflows_is_refused() -> None:
    for capacity in (2**31, 2**63, 2**64 - 1):
        assert split(b"\1a", capacity=capacity) is None


def test_capacity_zero_finds_nothing() -> None:
    assert split(b"\1a\1b", capacity=0) == [0, UNKNOWN]
    assert split(b"\1a\1b", 2, capacity=0) == [2, UNKNOWN]


def test_empty_input_finds_nothing() -> None:
    for width in WIDTHS:
        assert split(b"", width=width) == [0, UNKNOWN]
        assert split(b"\0" * 8, 8, width=width) == [8, UNKNOWN]
        assert split(b"\0" * 8, 9 - width, width=width) == [9 - width, UNKNOWN]


def test_split_finds_messages() -> None:
    assert split(b"\1a\0\2bc\3de") == [6, 3, 1, 2, 3, 3, 4, 6]
    assert split(b"\1a\0\2bc\3de", capacity=2) == [3, UNKNOWN, 1, 2, 3, 3]
    assert split(b"\1a\0\2bc\3de", 2, capacity=1) == [3, UNKNOWN, 3, 3]
    assert split(b"\1a\1b\1c", length=5) == [4, 1, 1, 2, 3, 4]
    assert split(b"\1a\xc9" + bytes(201)) == [2, 201, 1, 2], "above max_size ends the search"
    assert split(b"\xc8" + bytes(200)) == [201, UNKNOWN, 1, 201]


@pytest.mark.parametrize("big_endian", [False, True])
def test_lengths_near_integer_limits_do_not_overflow(big_endian: bool) -> None:
    order = "big" if big_endian else "little"
    for size in (2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1):
        for width in (4, 8):
            if size >= 2 ** (8 * width):
                continue
            data = size.to_bytes(width, order) + b"data"  # type: ignore[arg-type]
            for max_size in (200, 2**63 - 1, 2**64 - 1):
                options: Any = {"width": width, "big_endian": big_endian, "max_size": max_size}
                assert split(data, **options) == [0, size]
                before = (1).to_bytes(width, order) + b"x"  # type: ignore[arg-type]
                assert split(before + data, **options) == [width + 1, size, width, width + 1]


def test_join_writes_lengths_and_messages() -> None:
    assert join(b"abbccc", [1, 2, 0, 3]) == b"\1a\2bb\0\3ccc"
    assert join(b"ab", [1, 1], width=2, big_endian=True) == b"\0\1a\0\1b"
    assert join(b"ab", [1, 1], width=4) == b"\1\0\0\0a\1\0\0\0b"
    assert join(b"a", [1], width=8, big_endian=True) == b"\0\0\0\0\0\0\0\1a"
    assert join(b"", []) == b""
    assert join(b"", [0, 0]) == b"\0\0"


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [2],
        [4],
        [3, 1],
        [1, 1],
        [3, 2**64 - 1],
        [2**64 - 1],
        [2**64 - 1, 4],
        [2**63, 2**63 + 3],
    ],
    ids=repr,
)
def test_sizes_with_wrong_sum_are_refused(sizes: list[int]) -> None:
    for width in WIDTHS:
        assert join(b"abc", sizes, width=width) is None


def test_sizes_above_the_width_are_refused() -> None:
    assert join(bytes(255), [255]) == b"\xff" + bytes(255)
    assert join(bytes(256), [256]) is None
    assert join(bytes(257), [1, 256]) is None
    assert join(bytes(2**16), [2**16], width=2) is None
    assert join(bytes(2**16), [2**16], width=4) == b"\0\0\1\0" + bytes(2**16)


def test_inconsistent_buffer_lengths_are_refused() -> None:
    assert join(b"abc", [3]) == b"\3abc"
    for to_length in (0, 1, 3, 5, 2**63, 2**64 - 1):
        assert join(b"abc", [3], to_length=to_length) is None
    for payload_length in (0, 2, 4, 2**63, 2**64 - 1):
        assert join(b"abc", [3], payload_length=payload_length) is None
    for count in (0, 1, 3, 2**62, 2**63, 2**64 - 1):
        assert join(b"abc", [3, 0], count=count, width=4) is None
