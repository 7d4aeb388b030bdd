"""The two ends of a call's pipe, without I/O: the received data, the data to send with the peer's
credit, a push into the pipe, and the base of the pipe ends that users hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...abc.uncopied import Uncopied
from ..definition.operations import Pipe
from ..errors import ProtocolError
from ..wire.ndr import ChunkReader, ChunkWriter

__all__ = ["Incoming", "Outgoing", "PipeEnd", "Push"]


@dataclass(eq=False)
class Push:
    """Elements that are being pushed into a pipe, as many at a time as the credit allows.

    If the pipe has no range, each fragment is a chunk, so that a push can end after any of them. If
    the pipe has a range, the user's push is one chunk, which must be completed once it has begun.
    """

    octets: memoryview
    count: int
    position: int = 0

    @property
    def done(self) -> bool:
        return self.position >= len(self.octets)


class Incoming:
    """A pipe that is received."""

    def __init__(self, pipe: Pipe, credit: int) -> None:
        self.pipe = pipe
        self.reader = ChunkReader(pipe.element, pipe.range, most=credit)
        self._window = credit
        self._credit = credit  # how much the peer may still send

    def arrived(self, octets: memoryview) -> None:
        if len(octets) > self._credit:
            raise ProtocolError(
                f"{len(octets):,} octets came for the pipe {self.pipe.name}, where "
                f"{self._credit:,} were allowed"
            )
        self._credit -= len(octets)
        self.reader.feed(octets)

    def grant(self) -> int:
        """Returns and records how many more bytes the peer may send: 0, or enough to be worth a
        CREDIT frame.
        """
        more = self._window - self._credit - self.reader.waiting
        if self.reader.ended or more < self._window // 2:
            return 0
        self._credit += more
        return more


class Outgoing:
    """A pipe that is sent."""

    def __init__(self, pipe: Pipe, credit: int, turn: tuple[bool, int]) -> None:
        self.pipe = pipe
        self.turn = turn
        self.stride = pipe.element.stride
        self.is_special = pipe.range is not None  # so each push has to be checked
        self.writer = ChunkWriter(pipe.element)
        self.credit = credit
        self.small = bytearray()
        self.spoilt = False  # a chunk was begun and cannot be completed


class PipeEnd(Uncopied):
    """One end of a pipe, for a manager, or for a client that drives the pipe by hand."""

    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(self, driver: Any, pipe: Pipe) -> None:
        self._driver = driver
        self._pipe = pipe

    def __repr__(self) -> str:
        return f"<ipcpipes rpc pipe {self._pipe.name} of {self._driver.call.operation}>"
