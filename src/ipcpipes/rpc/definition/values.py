"""Encodes arguments and results with msgspec, and adds what msgspec would lose or refuse.

- NumPy's numbers and strings are sent as those of Python.
- A time with an offset from UTC is sent as text. msgspec would send it as MessagePack's timestamp,
  which is in UTC: 9:00 in Delhi would arrive as 3:30.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import inspect as types

from .type_parts import all_parts_of

__all__ = [
    "Times",
    "encode",
    "encode_raw",
    "encode_result",
    "encoded_or_none",
    "keep_offsets",
    "may_have_times",
    "times_of",
]

# The first bytes of a timestamp, for each of its three sizes (the MessagePack specification,
# "Timestamp extension type").
_TIMESTAMPS = (b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff")
_SCALARS = (bool, int, float, str, bytes)
_ALSO_KEPT = (bytes, bytearray, memoryview, datetime.datetime)


class Times(enum.Enum):
    """Whether a type can contain times with an offset, and whether the type says where they are."""

    NONE = "the type contains no times"
    TYPED = "the type says where times are, so the receiver decodes text there as a time"
    ANYWHERE = "the type contains Any, where the receiver would leave text as text"


def times_of(annotation: object) -> Times:
    parts = [*all_parts_of(types.type_info(annotation))]
    if any(isinstance(part, types.AnyType) for part in parts):
        return Times.ANYWHERE
    if any(isinstance(part, types.DateTimeType) and part.tz is not False for part in parts):
        return Times.TYPED
    return Times.NONE


def _of_numpy(value: Any) -> Any:
    """Converts a NumPy scalar to a Python scalar.

    Raises:
        TypeError: the value is something else.
    """
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind and kind in "biufSU" and getattr(value, "shape", None) == ():
        scalar = value.item()
        if isinstance(scalar, _SCALARS):
            return scalar
    if hasattr(value, "tolist"):
        raise TypeError(f"{type(value).__name__} cannot be sent; send its tolist(), or use a pipe")
    raise TypeError(f"{type(value).__name__} is not a type that can be sent")


encode_raw: Callable[[Any], bytes] = msgspec.msgpack.Encoder(enc_hook=_of_numpy).encode
"""Encodes a value as :func:`encode` does, but its errors have the text of msgspec."""


def encode(value: Any) -> bytes:
    """Encodes the value in MessagePack.

    Raises:
        TypeError, ValueError, OverflowError: the value cannot be sent.
    """
    try:
        return encode_raw(value)
    except OverflowError as error:
        if "serialize ints" not in str(error):
            raise
        raise OverflowError(
            "an integer must be from -2**63 to 2**64 - 1; send a larger one as text"
        ) from None


def encoded_or_none(value: object) -> bytes | None:
    """Encodes the value in MessagePack. Returns ``None`` if the value cannot be sent."""
    try:
        return encode(value)
    except (TypeError, ValueError, OverflowError):
        return None


def encode_result(value: Any, times: Times) -> bytes:
    """Encodes a result as :func:`encode` does, but keeps the offsets of times.

    Args:
        times: where the type of the result can have times.
    """
    encoded = encode(value)
    if times is not Times.NONE and may_have_times(encoded):
        return encode(keep_offsets(value, times))
    return encoded


def may_have_times(encoded: bytes) -> bool:
    """Whether the encoded value may contain timestamps."""
    return any(mark in encoded for mark in _TIMESTAMPS)


def keep_offsets(value: Any, times: Times) -> Any:
    """Returns the value with text in place of each time whose offset would be lost.

    Raises:
        ValueError: the offset cannot be kept.
    """
    if times is Times.NONE or not _has_offsets(value):
        return value
    built = msgspec.to_builtins(value, builtin_types=_ALSO_KEPT, enc_hook=_of_numpy)
    return _with_texts(built, times)


def _has_offsets(value: Any) -> bool:
    if isinstance(value, datetime.datetime):
        return bool(value.utcoffset())
    if isinstance(value, dict):
        return any(map(_has_offsets, value)) or any(map(_has_offsets, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_has_offsets, value))
    fields: Iterable[str] = getattr(value, "__struct_fields__", ())
    if dataclasses.is_dataclass(value):
        fields = value.__dataclass_fields__
    return any(_has_offsets(getattr(value, name, None)) for name in fields)


def _with_texts(value: Any, times: Times) -> Any:
    if isinstance(value, dict):
        return {_with_texts(key, times): _with_texts(one, times) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_texts(one, times) for one in value)
    if not isinstance(value, datetime.datetime):
        return value
    offset = value.utcoffset()
    if not offset:
        return value
    if times is Times.ANYWHERE:
        raise ValueError(
            f"{value.isoformat()} would lose its offset, because its type is Any; declare a "
            "datetime, send it as text, or convert it with .astimezone(timezone.utc)"
        )
    if offset % datetime.timedelta(minutes=1):
        raise ValueError(
            f"{value.isoformat()} has an offset with seconds, which RFC 3339 does not allow; "
            "convert it with .astimezone(timezone.utc)"
        )
    return value.isoformat()
