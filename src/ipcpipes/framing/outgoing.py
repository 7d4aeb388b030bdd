"""From what a user hands over to what is handed to the system; the same for every driver."""

from __future__ import annotations

from collections.abc import Sequence

from .contract import Buffer, Framing

LARGE = 64 * 1024
"""From here on a message is sent as it is; below, copying it beside its frame costs less than a
second call into the system."""


def flat(value: Buffer) -> Buffer:
    """As bytes that can be counted and cut: a memoryview may have other elements.

    Raises:
        TypeError: ``value`` is no bytes-like object, or not contiguous.
    """
    if type(value) is bytes:
        return value
    if isinstance(value, str):
        raise TypeError("a message is bytes, not str; encode it")
    view = memoryview(value)
    if not view.c_contiguous:
        raise TypeError("a message must be contiguous memory")
    return view.cast("B") if view.nbytes else b""


def flat_all(values: Sequence[Buffer]) -> list[Buffer]:
    """Each of them.

    Raises:
        TypeError: they are one message, no sequence of them; or what :func:`flat` raises.
    """
    if isinstance(values, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"send_many takes a sequence of messages, not {type(values).__name__}")
    return [flat(value) for value in values]


def pieces(framing: Framing, messages: Sequence[Buffer]) -> list[Buffer]:
    """What goes on the wire for them: the small ones joined, the large ones as they are.

    Raises:
        FramingError: one of them cannot be framed.
    """
    wire: list[Buffer] = []
    small: list[Buffer] = []
    for message in messages:
        if len(message) < LARGE:
            small.append(message)
            continue
        if small:
            wire.append(framing.join(small))
            small = []
        wire += framing.frame(message)
    if small:
        wire.append(framing.join(small))
    return wire
