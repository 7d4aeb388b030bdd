"""Bytes into a splitter as a channel feeds them; and the one invariant that every framing has.

The suite and the fuzzers (``fuzz/``) share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ipcpipes import errors
from ipcpipes.framing import Framing, Lines


@dataclass(frozen=True)
class Received:
    """What came out: the messages, and the fault at the end of them if there was one."""

    messages: list[bytes]
    fault: errors.FramingError | None = None

    @property
    def end(self) -> str:
        return "" if self.fault is None else f"{type(self.fault).__name__}: {self.fault}"


def receive(framing: Framing, parts: Iterable[bytes], *, in_place: bool = False) -> Received:
    """The whole stream, in these parts; ``in_place`` is through ``get_buffer`` where there is one.

    Anything but a FramingError comes through, and fails whoever asked.
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
    """``data`` in parts of these sizes, over and over."""
    position = number = 0
    while position < len(data):
        end = position + sizes[number % len(sizes)]
        yield data[position:end]
        position = end
        number += 1


def check_every_cut_is_the_same(framing: Framing, data: bytes, sizes: Sequence[int]) -> Received:
    """Any bytes give messages or a FramingError, and however they are cut, the same."""
    whole = receive(framing, [data])
    for message in whole.messages:
        assert type(message) is bytes
        assert len(message) <= framing.max_size
    for in_place in (False, True):
        cut = receive(framing, in_parts(data, sizes), in_place=in_place)
        assert cut.messages == whole.messages
        if isinstance(framing, Lines) and isinstance(whole.fault, errors.MessageTooLarge):
            # What has no announced size is refused when too much has come, and how much that
            # is depends on the cuts.
            assert isinstance(cut.fault, errors.MessageTooLarge)
        else:
            assert cut.end == whole.end
    return whole
