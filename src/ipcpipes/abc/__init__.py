"""The abstract classes of streams, channels and listeners, the same on every system.

They extend trio's (:class:`trio.abc.Stream`, :class:`trio.abc.Listener`) with the identity of the
peer and the endpoint. Code that does not need these should ask for trio's classes.
"""

from __future__ import annotations

from .channels import HalfCloseableMessageChannel, MessageChannel
from .listeners import Listener
from .peer import PeerIdentity
from .streams import (
    MOST_DESCRIPTORS,
    AnonymousPipeEnd,
    ByteStream,
    Connection,
    HasFileno,
    ReceiveByteStream,
    SendByteStream,
)

__all__ = [
    "MOST_DESCRIPTORS",
    "AnonymousPipeEnd",
    "ByteStream",
    "Connection",
    "HalfCloseableMessageChannel",
    "HasFileno",
    "Listener",
    "MessageChannel",
    "PeerIdentity",
    "ReceiveByteStream",
    "SendByteStream",
]
