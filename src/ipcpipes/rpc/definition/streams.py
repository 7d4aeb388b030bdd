"""Streams of values as both ends know them: how values are encoded and decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from ...framing.messagepack import check_depth
from .decoding import Decode, limited
from .lazy import Lazy
from .type_parts import can_nest
from .values import Times, encode, encode_raw, encode_result, times_of

__all__ = ["RESULT", "Stream"]

RESULT = "return"
"""The name of the stream whose values an operation yields. No parameter can have this name."""


@dataclass(frozen=True, eq=False)
class Stream:
    """A stream of values: a parameter, or what an operation yields.

    Attributes:
        name: the name of the parameter, or :data:`RESULT`.
        index: its index among the operation's streams, from 0.
        into: whether it carries values to the server; otherwise to the client.
        type: the type of its values.
    """

    name: str
    index: int
    into: bool
    type: Any

    @property
    def direction(self) -> Literal["in", "out"]:
        return "in" if self.into else "out"

    def __str__(self) -> str:
        return f"{self.direction} stream"

    @Lazy
    def times(self) -> Times:
        """Where a value can have times."""
        return times_of(self.type)

    @Lazy
    def decode(self) -> Decode:
        """Decodes an array of values. What a client sends is limited, as arguments are. A client
        chooses its server, so that only the depth is limited there.

        Raises:
            Exception: a value is not of its type, or exceeds a limit; or a class of the user
                refuses it.
        """
        decode = msgspec.msgpack.Decoder(list[self.type]).decode  # type: ignore[name-defined]
        if self.into:
            return limited(decode, (list[self.type],))  # type: ignore[name-defined]
        if not can_nest((self.type,)):
            return decode

        def decode_checked(encoded: bytes | memoryview) -> Any:
            check_depth(encoded)
            return decode(encoded)

        return decode_checked

    def encode(self, value: Any) -> bytes:
        """Encodes a value in MessagePack.

        Raises:
            TypeError, ValueError, OverflowError: the value cannot be sent.
        """
        if isinstance(value, msgspec.Raw):
            _check_raw(value)
        if self.times is Times.NONE:
            try:
                return encode_raw(value)
            except OverflowError:
                return encode(value)  # raises the same error with a better text
        return encode_result(value, self.times)


def _check_raw(value: msgspec.Raw) -> None:
    """Raises:
    ValueError: it is not one value. Sent together with others, it would change them.
    """
    try:
        msgspec.msgpack.decode(value, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"this msgspec.Raw is not a MessagePack value: {error}") from None
