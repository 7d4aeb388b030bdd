"""Framings: how messages are told apart in a stream of bytes. Pure: no stream or socket is used.

:class:`Framing` and :class:`Splitter` are the base classes, for your own framing too.
"""

from __future__ import annotations

from .content_length import ContentLength as ContentLength
from .contract import Buffer as Buffer, Framing as Framing, Splitter as Splitter
from .length_prefixed import LengthPrefixed as LengthPrefixed
from .lines import Lines as Lines
from .native import NATIVE as NATIVE, Native as Native

__all__ = [
    "NATIVE",
    "Buffer",
    "ContentLength",
    "Framing",
    "LengthPrefixed",
    "Lines",
    "Native",
    "Splitter",
]
