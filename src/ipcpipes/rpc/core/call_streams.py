"""The two ends of a call's stream of values, without I/O: the batches that have arrived, and the
values that are collected to be sent together.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from ...framing.messagepack import TooDeep, check_depth
from ..definition.streams import Stream
from ..errors import BadStubData, ProtocolError, StreamStopped
from ..wire.batches import LARGEST_HEAD, content_of, head_of
from ..wire.format import END, Frame
from .window import Window, with_credit

__all__ = ["BATCH", "IncomingStream", "OutgoingStream", "closed_text", "decoded"]

# Values are collected until there are this many bytes, or until the next output is sent. Larger
# batches that arrive are not merged.
BATCH = 32 * 1024
# Batches of up to this many bytes are merged when they arrive. Otherwise a peer that sends tiny
# batches would make this end keep many times their size in memory.
SMALL = 4 * 1024

_in_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class IncomingStream:
    """A stream that is received. Its values are decoded when they are needed.

    Args:
        first, most: the sizes of its :class:`Window`.

    Attributes:
        values: the decoded values that were not received yet.
        ended: no more values arrive.
        closed: this end has left the stream.
        error: what is wrong with the next value.
    """

    def __init__(self, stream: Stream, first: int, most: int) -> None:
        self.stream = stream
        self.values: deque[Any] = deque()
        self.ended = False
        self.closed = False
        self.error: BadStubData | None = None
        self._window = Window(first, most)
        self._batches: deque[bytes | memoryview] = deque()
        self._waiting = 0  # bytes of the batches and of the merged values
        self._merged = bytearray()  # the values of small batches, after the batches
        self._merged_count = 0

    def arrived(self, frame: Frame) -> None:
        """Takes a batch.

        Raises:
            ProtocolError: it is not an array, exceeds the credit, comes after the end, or is empty
                without being the end.
        """
        batch, window = frame.body, self._window
        size = len(batch)
        if self.ended:
            raise ProtocolError(f"values came for the stream {self.stream.name} after its end")
        count, content = content_of(batch)
        # The end needs no credit, and one value may exceed it: see OutgoingStream.admits.
        if size > max(window.credit, 0) and not (count == 1 and window.credit > 0):
            raise ProtocolError(
                f"{size:,} octets came for the stream {self.stream.name}, where "
                f"{window.credit:,} were allowed"
            )
        window.credit -= size
        self.ended = bool(frame.flags & END)
        if not (count or self.ended):
            raise ProtocolError(f"no values came for the stream {self.stream.name}")
        if not count or self.closed or self.error is not None:
            return
        if size > SMALL:
            self._end_merging()
            self._batches.append(batch)
            self._waiting += size
            return
        self._waiting += len(content)
        self._merged += content
        self._merged_count += count
        if len(self._merged) >= BATCH:
            self._end_merging()

    def _end_merging(self) -> None:
        if self._merged_count:
            head = head_of(self._merged_count)
            self._waiting += len(head)
            self._batches.append(head + self._merged)
            self._merged = bytearray()
            self._merged_count = 0

    @property
    def has_news(self) -> bool:
        """Whether there is a batch, or nothing more can come."""
        return bool(
            self._batches
            or self._merged_count
            or self.ended
            or self.closed
            or self.error is not None
        )

    def first(self) -> bytes | memoryview | None:
        """Returns the next batch, which stays here; ``None`` if there is none."""
        if not self._batches:
            self._end_merging()
        return self._batches[0] if self._batches else None

    def took(self, batch: bytes | memoryview, values: list[Any], error: BadStubData | None) -> int:
        """Replaces a batch by its decoded values. Does nothing if the batch was dropped meanwhile:
        another thread may have left the stream, or the call.

        Args:
            batch: what :meth:`first` has returned.
            error: what is wrong with the value after them.

        Returns:
            How many more bytes the peer may send, or 0.
        """
        if not self._batches or self._batches[0] is not batch:
            return 0
        self._waiting -= len(self._batches.popleft())
        self.values.extend(values)
        if error is not None:
            self.error = error
            self._drop()
        if self.ended or self.error is not None:
            return 0
        return self._window.grant(self._waiting, is_empty=not self._waiting)

    def _drop(self) -> None:
        self._batches.clear()
        self._merged.clear()
        self._merged_count = self._waiting = 0

    def clear(self) -> None:
        """Drops the values that have arrived."""
        self.values.clear()
        self._drop()


def closed_text(stream: Stream) -> str:
    """Returns the text of the error for a stream that this end has closed."""
    return f"the stream {stream.name} was closed here"


def decoded(stream: Stream, batch: bytes | memoryview) -> tuple[list[Any], BadStubData | None]:
    """Decodes a batch. If a value is not of its type, returns the values before it, and the error.

    This runs code of the user's classes.
    """
    try:
        return stream.decode(batch), None
    except Exception as error:  # also UnicodeDecodeError, and errors of a user's own types
        bad = BadStubData(f"a value of the stream {stream.name} is not of its type: {error}")
    values: list[Any] = []
    try:
        check_depth(batch)  # the decoder of the parts has no other limit
        for one in _in_parts(batch):
            values += stream.decode(head_of(1) + bytes(one))
    except TooDeep as error:
        bad = BadStubData(f"a value of the stream {stream.name} is refused: {error}")
    except Exception as error:
        text = str(error).replace(" - at `$[0]`", "").replace("`$[0]", "`$")
        bad = BadStubData(f"a value of the stream {stream.name} is not of its type: {text}")
    else:
        values = []  # only all of them together exceed a limit
    return values, bad


class OutgoingStream:
    """A stream that is sent.

    Attributes:
        credit: how many bytes may be sent. One value can exceed it, so that it can be negative.
        values: the encoded values that are collected.
        count: how many they are.
        closed: this end has ended the stream.
        stopped: the peer needs no more values.
        stop_error: what a send raises then.
    """

    def __init__(self, stream: Stream, credit: int) -> None:
        self.stream = stream
        self.credit = credit
        self.values = bytearray()
        self.count = 0
        self.closed = False
        self.stopped = False
        self.stop_error: StreamStopped | None = None

    def credited(self, more: int) -> None:
        self.credit = with_credit(self.credit, more)

    def admits(self, size: int) -> bool:
        """Whether a value of this size may be added. A single value may exceed the credit:
        otherwise a value that is larger than the window could never be sent.
        """
        if not self.count:
            return self.credit > 0
        return len(self.values) + size + LARGEST_HEAD <= self.credit

    def add(self, octets: bytes) -> None:
        self.values += octets
        self.count += 1

    def take(self) -> bytes:
        """Removes the collected values, and returns them as a batch."""
        if not self.count:
            return b""
        batch = head_of(self.count) + self.values
        self.values = bytearray()
        self.count = 0
        self.credit -= len(batch)
        return batch

    def stop(self) -> None:
        self.stopped = True
        self.values.clear()
        self.count = 0
