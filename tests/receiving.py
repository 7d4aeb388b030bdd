"""Feeds bytes to a splitter as a channel does, and checks the invariant of every framing.

The suite and the fuzzers (``fuzz/``) share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ipcpipes import errors
from ipcpipes.framing import Framing, Lines


@dataclass(frozen=True)
class Received:
    """The messages, and the fault after them if there was one."""

    messages: list[bytes]
    fault: errors.FramingError | None = None

    @property
    def end(self) -> str:
        return "" if self.fault is None else f"{type(self.fault).__name__}: {self.fault}"


def receive(framing: Framing, parts: Iterable[bytes], *, in_place: bool = False) -> Received:
    """Feeds a whole stream in these parts, with ``in_place`` through ``get_buffer`` if it offers a
    buffer. Only a FramingError is caught, so that any other exception fails the caller.
    """
    splitter = framing.splitter()
    messages: list[bytes] = []
    try:
        for part in parts:
            rest = part
            while rest:
                buffer = splitter.get_buffer() if in_place else None
                if buffer is None:
                    messages.extend(splitter.split(rest))
                    break
                assert len(buffer) > 0, "a buffer has room"
                count = min(len(buffer), len(rest))
                buffer[:count] = rest[:count]
                messages.extend(splitter.buffer_updated(count))
                rest = rest[count:]
        messages.extend(splitter.end() or ())
    except errors.FramingError as error:
        return Received(messages, error)
    return Received(messages)


def in_parts(data: bytes, sizes: Sequence[int]) -> Iterable[bytes]:
    """Yields ``data`` in parts of these sizes, which are repeated."""
    position = number = 0
    while position < len(data):
        end = position + sizes[number % len(sizes)]
        yield data[position:end]
        position = end
        number += 1


def check_every_cut_is_the_same(framing: Framing, data: bytes, sizes: Sequence[int]) -> Received:
    """Checks that the data gives messages or a FramingError, and the same for every cut."""
    whole = receive(framing, [data])
    for message in whole.messages:
        assert type(message) is bytes
        assert len(message) <= framing.max_size
    for in_place in (False, True):
        cut = receive(framing, in_parts(data, sizes), in_place=in_place)
        assert cut.messages == whole.messages
        if isinstance(framing, Lines) and isinstance(whole.fault, errors.MessageTooLarge):
            # A message without an announced size is refused when too much of it has arrived, and
            # how much that is depends on the cuts.
            assert isinstance(cut.fault, errors.MessageTooLarge)
        else:
            assert cut.end == whole.end
    return whole
