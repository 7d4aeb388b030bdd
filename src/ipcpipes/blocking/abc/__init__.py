"""The contracts of streams, channels and listeners without an event loop.

They are those of :mod:`ipcpipes.abc` with two differences: threads take the place of tasks, and
every operation that can wait takes ``timeout``.

``timeout`` is a number of seconds. ``None`` (the default) and ``math.inf`` wait for ever, and 0
returns only what is available at once. When it has passed, :exc:`TimeoutError` is raised. A receive
that timed out has lost nothing. A send that timed out before its first byte was sent has changed
nothing. A send that timed out later leaves the stream broken for sending, because the peer may have
a part.

``close`` may be called from any thread, also from a signal handler or a finalizer that has
interrupted one of the other methods. It wakes the threads inside the other methods with
:exc:`trio.ClosedResourceError`. The descriptor or handle is released when the last thread has left.

An exception that a signal handler raises (:exc:`KeyboardInterrupt` on Ctrl-C) ends an operation at
any step, whether it waits or not. Data that a receive had got by then is kept for the next receive.
If it cannot be kept (because it was received together with descriptors, or a framing was in the
middle of splitting it into messages), the stream or channel is broken for receiving from then on,
and every receive raises an error that says so. A message never arrives in part. A send that was
interrupted half-way leaves the stream or channel broken for sending. Python 3.10 also runs signal
handlers when a function has returned: then the bytes or the message that were just returned can be
lost.

The errors are trio's, named after the cause: :exc:`trio.BrokenResourceError` (the peer),
:exc:`trio.ClosedResourceError` (you closed it), :exc:`trio.BusyResourceError` (two threads at
once), :exc:`trio.EndOfChannel`.
"""

from __future__ import annotations

from .channels import (
    HalfCloseableMessageChannel,
    MessageChannel,
)
from .listeners import (
    Listener,
)
from .streams import (
    AnonymousPipeEnd,
    BareStream,
    ByteStream,
    Connection,
    ReceiveByteStream,
    SendByteStream,
)

__all__ = [
    "AnonymousPipeEnd",
    "BareStream",
    "ByteStream",
    "Connection",
    "HalfCloseableMessageChannel",
    "Listener",
    "MessageChannel",
    "ReceiveByteStream",
    "SendByteStream",
]
