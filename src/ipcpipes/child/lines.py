"""The lines of what a child prints, as they come."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import trio

LineSink = Callable[[str], object]

# Bytes. A longer line comes in pieces, so that a program that never ends one takes no memory.
LONGEST_LINE = 65536
# After its end, what a child has printed is in the pipe, and comes with the next reads. All else
# is from another process that has the pipe too.
_PATIENCE = 0.5  # seconds without anything
_MOST_READS = 20  # a pipe holds 1 MiB at most, and one read takes 64 KiB of it


class LineSplitter:
    r"""Cuts bytes into lines: at ``\n``, ``\r\n``, and ``\r``, by which programs paint a progress
    over itself. What is not UTF-8 becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._after_return = False

    def split(self, data: bytes) -> Iterator[str]:
        """The lines that are complete now."""
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        text = (self._rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = text.split(b"\n")
        for line in lines:
            yield from _pieces(line)
        if len(self._rest) > LONGEST_LINE:
            *pieces, self._rest = _cut(self._rest)
            yield from map(_text, pieces)

    def end(self) -> Iterator[str]:
        """What came after the last line, if there is anything."""
        rest, self._rest = self._rest, b""
        if rest:
            yield _text(rest)


def _pieces(line: bytes) -> Iterator[str]:
    return map(_text, _cut(line))


def _cut(line: bytes) -> list[bytes]:
    pieces = []
    while len(line) > LONGEST_LINE:
        end = LONGEST_LINE
        # Not within a character: its bytes after the first one begin with the bits 10.
        while end > LONGEST_LINE - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


class Capture:
    """Reads a standard stream of a child to its end, and hands the lines on.

    The child's end is not always the stream's: what the child has started may hold it too, and
    go on printing. So after :meth:`child_ended` it reads what is left, and ends.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, sink: LineSink) -> None:
        self.stream = stream
        self._sink = sink
        self._has_ended = False
        self._reads_left = _MOST_READS
        self._waiting = trio.CancelScope()

    def child_ended(self) -> None:
        self._has_ended = True
        self._waiting.deadline = trio.current_time() + _PATIENCE

    async def run(self) -> None:
        lines = LineSplitter()
        # Not to be cancelled: the last lines of a child that is being ended are worth the most,
        # and it is ended in any case.
        with trio.CancelScope(shield=True):
            async with self.stream:
                while data := await self._receive():
                    for line in lines.split(data):
                        self._sink(line)
        for line in lines.end():
            self._sink(line)

    async def _receive(self) -> bytes:
        for _ in range(2):
            with trio.CancelScope(deadline=self._deadline()) as self._waiting:
                return bytes(await self.stream.receive_some())
            # Perhaps other tasks have taken all the time. What is there is read without a wait.
        return b""

    def _deadline(self) -> float:
        if not self._has_ended:
            return math.inf
        self._reads_left -= 1
        return trio.current_time() + _PATIENCE if self._reads_left > 0 else -math.inf
