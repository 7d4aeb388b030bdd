"""Turns the messages of a user into the bytes for the system; the same for every driver."""

from __future__ import annotations

from collections.abc import Sequence

from .contract import Buffer, Framing

LARGE = 64 * 1024
"""A message of this size or more is sent without a copy. For a smaller one, copying it next to its
frame costs less than a second system call."""

READ_SIZE = LARGE + 4096
"""How many bytes a channel receives at a time: a smaller message and its frame in one read."""


def flat(value: Buffer) -> Buffer:
    """Returns ``value`` as bytes, or as a memoryview of bytes.

    Raises:
        TypeError: ``value`` is not a bytes-like object, or is not contiguous.
    """
    if type(value) is bytes:
        return value
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"a message is bytes, not {type(value).__name__}; encode it") from None
    if not view.c_contiguous:
        raise TypeError("a message must be contiguous memory")
    return view.cast("B") if view.nbytes else b""


def flat_all(values: Sequence[Buffer]) -> list[Buffer]:
    """Returns :func:`flat` of each value.

    Raises:
        TypeError: ``values`` is one message instead of a sequence; or what :func:`flat` raises.
    """
    if isinstance(values, (bytes, bytearray, memoryview, str)):
        raise TypeError(f"send_many takes a sequence of messages, not {type(values).__name__}")
    return [flat(value) for value in values]


def pieces(framing: Framing, messages: Sequence[Buffer]) -> list[Buffer]:
    """Returns the bytes to send for the messages: small ones joined, large ones without a copy.

    Raises:
        FramingError: one of the messages cannot be framed.
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
