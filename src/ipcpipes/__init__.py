"""Local inter-process communication: Windows named pipes and Unix domain sockets behind one
trio API, for bytes and for messages.

>>> stream = await ipcpipes.connect("svc")              # trio.abc.Stream
>>> await ipcpipes.serve(handler, "svc")                # handler(stream) for each client
>>> channel = await ipcpipes.connect_messages("svc")    # trio.abc.Channel[bytes]
>>> await ipcpipes.serve_messages(handler, "svc")       # handler(channel) for each client
>>> async with ipcpipes.open_child(command) as child:   # child.stream; parent_stream() in the child

Start at :func:`connect`, :func:`connect_messages`, their relatives and :class:`Endpoint`; code
without an event loop starts at :mod:`ipcpipes.blocking`.
"""

from __future__ import annotations

from . import abc as abc, errors
from .abc import PeerIdentity
from .authentication import authenticate_as_client, authenticate_as_server
from .broadcast import Broadcaster
from .child.anonymous import AnonymousReceiveStream, AnonymousSendStream, open_anonymous_pipe
from .child.group.group import WorkerGroup
from .child.group.worker import Worker, group_worker
from .child.lines import LinePiece
from .child.parent import parent_channel, parent_pipes, parent_stream
from .child.process import Child, open_child
from .connections.connect import Listener, ReceiveStream, SendStream, Stream, connect, listen, serve
from .endpoint import Endpoint
from .errors import *  # noqa: F403  # every name in its __all__
from .framing import NATIVE, ContentLength, Framing, LengthPrefixed, Lines, Native, Splitter
from .messages.connect import connect_messages, listen_messages, serve_messages
from .messages.framed import MessageChannel, NativeMessageChannel
from .running import run
from .security import AccessPolicy, Group, User, open_for_client
from .waiting import wait

__version__ = "0.1.0"

__all__ = [
    "NATIVE",
    "AccessPolicy",
    "AnonymousReceiveStream",
    "AnonymousSendStream",
    "Broadcaster",
    "Child",
    "ContentLength",
    "Endpoint",
    "Framing",
    "Group",
    "LengthPrefixed",
    "LinePiece",
    "Lines",
    "Listener",
    "MessageChannel",
    "Native",
    "NativeMessageChannel",
    "PeerIdentity",
    "ReceiveStream",
    "SendStream",
    "Splitter",
    "Stream",
    "User",
    "Worker",
    "WorkerGroup",
    "abc",
    "authenticate_as_client",
    "authenticate_as_server",
    "connect",
    "connect_messages",
    "group_worker",
    "listen",
    "listen_messages",
    "open_anonymous_pipe",
    "open_child",
    "open_for_client",
    "parent_channel",
    "parent_pipes",
    "parent_stream",
    "run",
    "serve",
    "serve_messages",
    "wait",
]
__all__ += errors.__all__
