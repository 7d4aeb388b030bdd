"""Long lines of what a child prints: how long one may be, and how a piece is told from a line."""

from __future__ import annotations

import copy
import pickle
import sys
import time
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import LinePiece
from ipcpipes.child.lines import LONGEST_LINE, LineSplitter

from .conftest import WINDOWS


def split(longest: int, *parts: bytes) -> list[tuple[str, bool | None]]:
    """The lines: each with whether it is the last piece, ``None`` for a whole line."""
    splitter = LineSplitter(longest)
    lines = [line for part in parts for line in splitter.split(part)]
    lines += splitter.end()
    return [(line, line.is_last if isinstance(line, LinePiece) else None) for line in lines]


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ([b"1234567\n"], [("1234567", None)]),
        ([b"12345678\n"], [("12345678", None)]),
        ([b"123456789\n"], [("12345678", False), ("9", True)]),
        ([b"12345678", b"9\n"], [("12345678", False), ("9", True)]),
        ([b"1234", b"5678", b"\n"], [("12345678", None)]),
        ([b"a\n123456789\r\nb\r"], [("a", None), ("12345678", False), ("9", True), ("b", None)]),
        ([b"x" * 17 + b"\nb"], [("x" * 8, False), ("x" * 8, False), ("x", True), ("b", None)]),
        ([b"x" * 9], [("x" * 8, False), ("x", True)]),
        ([b"123456789\r", b"\nb\n"], [("12345678", False), ("9", True), ("b", None)]),
        (["abcdefgé\n".encode()], [("abcdefg", False), ("é", True)]),
        (["abcd€€\n".encode()], [("abcd€", False), ("€", True)]),
        (["abcdef🙂\n".encode()], [("abcdef", False), ("🙂", True)]),
        ([b"\x80" * 9], [("�" * 5, False), ("�" * 4, True)]),
    ],
)
def test_pieces_differ_from_lines_by_their_type(
    parts: list[bytes], lines: list[tuple[str, bool | None]]
) -> None:
    assert split(8, *parts) == lines


@pytest.mark.parametrize("longest", [4, 5, 7])
def test_no_character_is_lost_between_pieces(longest: int) -> None:
    text = "aé€🙂b🙂🙂€éa" * 3
    data = text.encode() + b"\n"
    for size in (1, 2, 3, 5, 100):
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        pieces = split(longest, *parts)
        assert "".join(piece for piece, _ in pieces) == text
        assert [is_last for _, is_last in pieces] == [False] * (len(pieces) - 1) + [True]


@pytest.mark.skipif(WINDOWS, reason="its clock of a process ticks every 15 ms")
def test_work_for_a_long_line_is_linear() -> None:
    """Not with its square: it would be 200 times as much here."""

    def seconds(reads: int) -> float:
        splitter = LineSplitter(2**31 - 1)
        data = b"x" * LONGEST_LINE
        begun = time.process_time()
        for _ in range(reads):
            assert not list(splitter.split(data))
        return time.process_time() - begun

    few = min(seconds(10) for _ in range(5))
    assert seconds(2000) < 200 * few * 20


async def lines_of(printing: str, **options: Any) -> list[str]:
    lines: list[str] = []
    command = [sys.executable, "-c", printing]
    with trio.fail_after(60):
        async with ipcpipes.open_child(command, stdout=lines.append, **options) as child:
            await child.wait()
    return lines


async def test_longest_line_is_respected() -> None:
    printing = "print('x' * 1_000_000); print('y' * 1_000_001); print('z')"
    x, y, rest, z = await lines_of(printing, longest_line=1_000_000)
    assert x == "x" * 1_000_000
    assert not isinstance(x, LinePiece)
    assert isinstance(y, LinePiece)
    assert (y, y.is_last) == ("y" * 1_000_000, False)
    assert isinstance(rest, LinePiece)
    assert (rest, rest.is_last) == ("y", True)
    assert (z, type(z)) == ("z", str)


async def test_longest_line_is_64_kib_by_default() -> None:
    lines = await lines_of("print('x' * 65536); print('y' * 65537)")
    assert [(len(line), isinstance(line, LinePiece)) for line in lines] == [
        (65536, False),
        (65536, True),
        (1, True),
    ]


@pytest.mark.parametrize(
    ("longest", "error"), [(3, ValueError), (0, ValueError), (2**31, ValueError), ("9", TypeError)]
)
async def test_wrong_longest_line_is_refused(longest: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="longest_line must be"):
        await lines_of("print()", longest_line=longest)


def test_line_piece_is_a_str() -> None:
    piece = LinePiece("text", is_last=False)
    assert piece == "text"
    assert f"{piece:>6}" == "  text"
    for other in (copy.copy(piece), pickle.loads(pickle.dumps(piece))):
        assert (other, type(other), other.is_last) == ("text", LinePiece, False)
