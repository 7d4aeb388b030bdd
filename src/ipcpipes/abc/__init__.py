"""The contracts: what every stream, channel and listener of ipcpipes is, on every system.

They are trio's own (:class:`trio.abc.Stream`, :class:`trio.abc.Listener`) and add
who is at the other end and where. Code that needs no more should ask for trio's.
"""

from __future__ import annotations

from .channels import (
    HalfCloseableMessageChannel,
    MessageChannel,
)
from .listeners import (
    Listener,
)
from .peer import (
    PeerIdentity,
)
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
