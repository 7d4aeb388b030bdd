"""The default framing: each message follows its length. Splitting and joining run in C."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .._ffi import ffi, lib
from ..errors import FramingError, MessageTooLarge
from .body import MIN_BODY, BodySplitter
from .contract import Buffer, Framing, Splitter, then_raise
from .finding import CAPACITY, find
from .limits import DEFAULT_MAX_SIZE, check_max_size

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_UNKNOWN = 2**64 - 1


@dataclass(frozen=True)
class LengthPrefixed(Framing):
    """Each message follows its length, an unsigned number. The default framing on every system.

    .NET's ``BinaryWriter.Write(int)`` sends such a length, and ``BinaryReader.ReadInt32`` reads it:
    four bytes, little-endian.

    Attributes:
        width: the bytes of the length: 1, 2, 4 or 8.
        byteorder: ``"little"`` or ``"big"``.
        max_size: the largest message in bytes, 1 to 2**63 - 1. If ``width`` can only express less
            (255 with 1, 65,535 with 2), it is reduced to that.
        prefix: the :class:`struct.Struct` that packs the length; computed from the others.

    Raises:
        TypeError, ValueError: one of them is of the wrong type or out of range.
    """

    width: Literal[1, 2, 4, 8] = 4
    byteorder: Literal["little", "big"] = "little"
    max_size: int = DEFAULT_MAX_SIZE
    prefix: struct.Struct = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # 4.0 and True are equal to keys of _CODES, so the type is checked too.
        if type(self.width) is not int or self.width not in _CODES:
            raise ValueError(f"width must be 1, 2, 4 or 8 bytes, not {self.width!r}")
        if self.byteorder not in ("little", "big"):
            raise ValueError(f'byteorder must be "little" or "big", not {self.byteorder!r}')
        check_max_size(self.max_size)
        object.__setattr__(self, "max_size", min(self.max_size, 2 ** (8 * self.width) - 1))
        order = "<" if self.byteorder == "little" else ">"
        object.__setattr__(self, "prefix", struct.Struct(order + _CODES[self.width]))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.width, self.byteorder, self.max_size)

    def frame(self, message: Buffer) -> Sequence[Buffer]:
        try:
            return (self.prefix.pack(len(message)), message)
        except struct.error:
            raise self._too_large((message,)) from None

    def join(self, messages: Sequence[Buffer]) -> bytes | bytearray:
        if len(messages) == 1:
            # Cheaper than a call into C.
            try:
                return self.prefix.pack(len(messages[0])) + messages[0]
            except struct.error:
                raise self._too_large(messages) from None
        payload = b"".join(messages)
        sizes = ffi.new("uint64_t[]", [len(message) for message in messages])
        joined = bytearray(len(payload) + len(messages) * self.width)
        with ffi.from_buffer(joined) as to:
            failed = lib.ipc_join(
                payload,
                len(payload),
                sizes,
                len(messages),
                self.width,
                self.byteorder == "big",
                to,
                len(joined),
            )
        if failed:
            raise self._too_large(messages)
        return joined

    def _too_large(self, messages: Sequence[Buffer]) -> MessageTooLarge:
        # A channel checks max_size first. Other callers at least cannot send a wrong length.
        return MessageTooLarge(max(map(len, messages)), self.max_size)

    def splitter(self) -> Splitter:
        return _Splitter(self)


class _Splitter(BodySplitter):
    def __init__(self, framing: LengthPrefixed) -> None:
        super().__init__(framing.max_size)
        self._width = framing.width
        self._big_endian = framing.byteorder == "big"
        self._unpack_from = framing.prefix.unpack_from

    def _is_head(self, data: bytes) -> bool:
        return len(data) == self._width

    def only(self, data: bytes) -> bytes | None:
        if self._body is None and not self._rest:
            try:
                (size,) = self._unpack_from(data)
            except struct.error:  # less than a whole length
                return None
            width = self._width
            if size == len(data) - width and size <= self._max_size:
                return data[width:]
        return None

    def split(self, data: bytes) -> Iterable[bytes]:
        # Usually it is one message; then a call into C would be slower.
        if (message := self.only(data)) is not None:
            return (message,)
        messages: list[bytes] = []
        position = self._continue_body(data, messages)
        if self._body is not None:
            return messages
        if self._rest:
            data = self._rest + data
            self._rest = b""
        size, count = _UNKNOWN, 2 * CAPACITY
        while count == 2 * CAPACITY:
            position, size, *places = find(
                data, position, self._width, self._max_size, big_endian=self._big_endian
            )
            count = len(places)
            pairs = iter(places)
            messages += [data[start:end] for start, end in zip(pairs, pairs, strict=True)]
        if size > self._max_size and len(data) - position >= self._width:
            return then_raise(messages, MessageTooLarge(size, self._max_size))
        if MIN_BODY <= size <= self._max_size:
            try:
                body = self._begin_body(self._width, size)
            except FramingError as error:
                return then_raise(messages, error)
            body.put(data, position + self._width)
        else:
            self._rest = data[position:]
        return messages
