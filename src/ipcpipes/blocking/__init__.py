"""ipcpipes without an event loop, for scripts, threads and child processes.

>>> with blocking.connect("svc") as stream: ...              # send_all, receive_some, close
>>> with blocking.connect_messages("svc") as channel: ...    # send, receive, for message in channel
>>> with blocking.listen("svc") as listener: ...             # accept, for stream in listener
>>> with blocking.open_child(command) as child: ...          # child.stream; parent_stream() there

Each end chooses independently: a blocking client can talk to a trio server, and the reverse.
:mod:`ipcpipes.blocking.abc` describes the methods, their ``timeout`` and their errors.
"""

from __future__ import annotations

from .._os.blocking import Listener, ReceiveStream, SendStream, Stream
from . import abc
from .authentication.handshake import authenticate_as_client, authenticate_as_server
from .child.anonymous import AnonymousReceiveStream, AnonymousSendStream, open_anonymous_pipe
from .child.parent import parent_channel, parent_pipes, parent_stream
from .child.process import Child, open_child
from .connections.connect import connect, listen, serve
from .messages.connect import connect_messages, listen_messages, serve_messages
from .messages.framed import MessageChannel, NativeMessageChannel
from .running import run
from .waiting import wait

__all__ = [
    "AnonymousReceiveStream",
    "AnonymousSendStream",
    "Child",
    "Listener",
    "MessageChannel",
    "NativeMessageChannel",
    "ReceiveStream",
    "SendStream",
    "Stream",
    "abc",
    "authenticate_as_client",
    "authenticate_as_server",
    "connect",
    "connect_messages",
    "listen",
    "listen_messages",
    "open_anonymous_pipe",
    "open_child",
    "parent_channel",
    "parent_pipes",
    "parent_stream",
    "run",
    "serve",
    "serve_messages",
    "wait",
]
