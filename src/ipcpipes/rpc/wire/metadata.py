"""The metadata of a call or of its answer: what may be sent, and its bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from ...framing.messagepack import check_depth

__all__ = [
    "MOST_METADATA",
    "NO_METADATA",
    "Metadata",
    "MetadataValue",
    "decode_metadata",
]

MetadataValue: TypeAlias = str | bytes | int | float | bool
"""What a value of metadata can be."""

MOST_METADATA = 8 * 1024
"""The largest metadata of one call or one answer, encoded, in bytes."""

NO_METADATA: Mapping[str, MetadataValue] = MappingProxyType({})

_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_TYPES = (str, bytes, int, float, bool)
_encode = msgspec.msgpack.Encoder().encode
# A union of all the types is not possible in msgspec.
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Metadata(MutableMapping[str, MetadataValue]):
    """Metadata that can be changed. It can be sent at any time: each change is checked.

    Args:
        limit: how many bytes the receiver takes.
    """

    def __init__(
        self, values: Mapping[str, MetadataValue] = NO_METADATA, *, limit: int = MOST_METADATA
    ) -> None:
        self._values: dict[str, MetadataValue] = {}
        self._limit = limit
        self.update(values)

    def __getitem__(self, key: str) -> MetadataValue:
        return self._values[key]

    def __setitem__(self, key: str, value: MetadataValue) -> None:
        """Raises:
        TypeError: the key or the value is not of a type that can be sent.
        ValueError: the key has other characters, the value cannot be sent, or there is no room for
            it.
        """
        _check(key, value)
        size = len(_encode({**self._values, key: value}))
        if size > self._limit:
            raise ValueError(
                f"the metadata would have {size:,} bytes with {key!r}, and {self._limit:,} are "
                "allowed; send large values as arguments or through a pipe"
            )
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        # The values may be secrets.
        return f"<ipcpipes rpc metadata: {', '.join(self._values) or 'none'}>"

    @property
    def encoded(self) -> bytes:
        """The bytes that are sent; none if there is no metadata."""
        return _encode(self._values) if self._values else b""


def _check(key: object, value: object) -> None:
    if type(key) is not str:
        raise TypeError(f"a key of metadata is a str, not {key!r}")
    if _KEY.fullmatch(key) is None:
        raise ValueError(
            f"the key {key[:80]!r}: a key of metadata has 1 to 64 of the characters a-z, 0-9, '.', "
            "'_' and '-', and begins with a letter or digit"
        )
    if type(value) not in _TYPES:
        raise TypeError(
            f"the metadata {key!r} is a {type(value).__name__}; str, bytes, int, float and bool "
            "can be sent"
        )
    try:
        _encode(value)
    except (ValueError, OverflowError) as error:  # lone surrogates; an integer of 65 bits
        raise ValueError(f"the metadata {key!r} cannot be sent: {error}") from None


def decode_metadata(encoded: bytes | memoryview) -> Mapping[str, MetadataValue]:
    """Decodes received metadata.

    Raises:
        ValueError: it is not what a sender may send.
    """
    if len(encoded) > MOST_METADATA:
        raise ValueError(f"it has {len(encoded):,} bytes, and {MOST_METADATA:,} are allowed")
    check_depth(encoded)
    try:
        values = _decode(encoded)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None
    for key, value in values.items():
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"it has the key {key[:80]!r}")
        if type(value) not in _TYPES:
            raise ValueError(f"the value of {key!r} is of another type")
    return MappingProxyType(values)
