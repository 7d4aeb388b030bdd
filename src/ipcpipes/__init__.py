"""Local inter-process communication: Windows named pipes and Unix domain sockets behind one
trio stream API.

>>> stream = await ipcpipes.connect("svc")              # trio.abc.Stream
>>> await ipcpipes.serve(handler, "svc")                # handler(stream) for each client

Start at :func:`connect`, :func:`listen`, :func:`serve` and :class:`Endpoint`.
"""

from __future__ import annotations

from . import abc as abc
from .abc import PeerIdentity
from .connect import Listener, ReceiveStream, SendStream, Stream, connect, listen, serve
from .endpoint import Endpoint
from .errors import (
    EndpointBusy,
    EndpointDenied,
    EndpointError,
    EndpointInUse,
    EndpointNotFound,
    EndpointRefused,
    InvalidEndpoint,
    IpcError,
    NotAnEndpoint,
    NotSupported,
    UnsafeDirectory,
)
from .security import AccessPolicy

__version__ = "0.1.0"

__all__ = [
    "AccessPolicy",
    "Endpoint",
    "EndpointBusy",
    "EndpointDenied",
    "EndpointError",
    "EndpointInUse",
    "EndpointNotFound",
    "EndpointRefused",
    "InvalidEndpoint",
    "IpcError",
    "Listener",
    "NotAnEndpoint",
    "NotSupported",
    "PeerIdentity",
    "ReceiveStream",
    "SendStream",
    "Stream",
    "UnsafeDirectory",
    "abc",
    "connect",
    "listen",
    "serve",
]
