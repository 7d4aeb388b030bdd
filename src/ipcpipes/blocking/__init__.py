"""ipcpipes without an event loop, for scripts, threads and child processes.

>>> with blocking.connect("svc") as stream: ...              # send_all, receive_some, close
>>> with blocking.connect_messages("svc") as channel: ...    # send, receive, for message in channel
>>> with blocking.listen("svc") as listener: ...             # accept, for stream in listener
>>> with blocking.open_child(command) as child: ...          # child.stream; parent_stream() there

Each end chooses independently: a blocking client can talk to a trio server, and the reverse.
:mod:`ipcpipes.blocking.abc` describes the methods, their ``timeout`` and their errors.
"""

from __future__ import annotations

from .._os.blocking import (
    Listener as Listener,
    ReceiveStream as ReceiveStream,
    SendStream as SendStream,
    Stream as Stream,
)
from . import abc as abc
from .authentication.handshake import (
    authenticate_as_client as authenticate_as_client,
    authenticate_as_server as authenticate_as_server,
)
from .child.anonymous import (
    AnonymousReceiveStream as AnonymousReceiveStream,
    AnonymousSendStream as AnonymousSendStream,
    open_anonymous_pipe as open_anonymous_pipe,
)
from .child.parent import (
    parent_channel as parent_channel,
    parent_pipes as parent_pipes,
    parent_stream as parent_stream,
)
from .child.process import Child as Child, open_child as open_child
from .connections.connect import connect as connect, listen as listen
from .messages.connect import (
    connect_messages as connect_messages,
    listen_messages as listen_messages,
)
from .messages.framed import (
    MessageChannel as MessageChannel,
    NativeMessageChannel as NativeMessageChannel,
)
from .running import run as run

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
]
