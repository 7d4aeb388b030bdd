"""Cuts the output of a child into lines, as it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import trio

from .last_reads import LastReads

if TYPE_CHECKING:
    from typing_extensions import Self

LineSink = Callable[[str], object]

LONGEST_LINE = 65536
"""Bytes. A longer line is delivered in pieces, so that a program that never ends a line cannot use
up the memory.
"""
LEAST_LONGEST = 4
"""Bytes: the longest character in UTF-8."""
_MOST_READS = 20  # a pipe holds 1 MiB at most, and one read takes 64 KiB of it


class LinePiece(str):
    """A piece of a line that is longer than ``longest_line``: a ``str`` with one attribute. The
    function that is called with each line gets it.

    Attributes:
        is_last: whether the line ends with this piece; otherwise more pieces of the line follow.
    """

    __slots__ = ("is_last",)
    is_last: bool

    def __new__(cls, text: str, *, is_last: bool) -> Self:
        piece = super().__new__(cls, text)
        piece.is_last = is_last
        return piece

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, bool]]:
        return (str(self),), {"is_last": self.is_last}


class LineSplitter:
    r"""Cuts bytes into lines, at ``\n``, ``\r\n``, and ``\r`` (which programs use to overwrite a
    progress line). Bytes that are not UTF-8 become U+FFFD.

    Args:
        longest: how many bytes a line may have; a longer line is cut into pieces.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._rest = bytearray()  # of a line that has not ended
        self._in_pieces = False  # some of that line was given already
        self._after_return = False

    def split(self, data: bytes) -> Iterator[str]:
        """Yields the lines that are complete, and pieces of a line that is too long."""
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        *ends, beginning = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for end in ends:
            self._rest += end
            yield from self._pieces()
            yield self._end_line()
        self._rest += beginning
        yield from self._pieces()

    def end(self) -> Iterator[str]:
        """Yields the last line, if it has no newline."""
        if self._rest:
            yield self._end_line()

    def _pieces(self) -> Iterator[LinePiece]:
        """Cuts pieces off the unfinished line while it is too long."""
        rest = self._rest
        while len(rest) > self._longest:
            end = self._longest
            # Do not cut a character: its bytes after the first (3 at most) begin with the bits 10.
            while end > self._longest - 3 and rest[end] & 0xC0 == 0x80:
                end -= 1
            piece = _text(rest[:end])
            del rest[:end]
            self._in_pieces = True
            yield LinePiece(piece, is_last=False)

    def _end_line(self) -> str:
        text, is_piece = _text(self._rest), self._in_pieces
        self._rest.clear()
        self._in_pieces = False
        return LinePiece(text, is_last=True) if is_piece else text


def _text(line: bytearray) -> str:
    return line.decode("utf-8", "replace")


class Capture:
    """Reads a standard stream of a child to its end, and passes the lines to a function.

    Attributes:
        reads: stops the reading when it is told that the child has ended.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, sink: LineSink, longest: int) -> None:
        self.stream = stream
        self._sink = sink
        self._lines = LineSplitter(longest)
        self.reads = LastReads(_MOST_READS)

    async def run(self) -> None:
        lines = self._lines
        # This is shielded from cancellation, because the last lines of a child that is being ended
        # may say why. The child is ended in any case.
        with trio.CancelScope(shield=True):
            async with self.stream:
                while data := await self.reads.read(self.stream.receive_some):
                    for line in lines.split(bytes(data)):
                        self._sink(line)
        for line in lines.end():
            self._sink(line)
