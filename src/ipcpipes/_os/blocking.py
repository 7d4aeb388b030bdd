"""The operating system, with the driver for code without an event loop; see ``_os/__init__.py``.

This is a separate module, so that trio programs do not load it.
"""

from __future__ import annotations

import sys
from functools import partial

if sys.platform == "win32":
    from .windows import inheritance, listening, process
    from .windows.blocking import connecting, duplex, listener, packets, pipe, stream, watching
else:
    from .posix import inheritance, listening, process
    from .posix.blocking import connecting, duplex, listener, packets, pipe, stream, watching

connect = connecting.connector.connect
parent_end = connecting.connector.parent_end
Listener = listener.Listener
listen = partial(listening.listen, Listener)

Stream = stream.Stream
SendStream = stream.SendStream
ReceiveStream = stream.ReceiveStream
Duplex = duplex.Duplex
Packets = packets.Packets
AnonymousSendStream = pipe.SendStream
AnonymousReceiveStream = pipe.ReceiveStream

close_input = process.close_input
ends_within = process.ends_within
is_quick = process.is_quick
start = process.start
give_up = process.give_up
wait_for_any = watching.wait_for_any
watched_process = process.watched


def open_anonymous_pipe(
    capacity: int | None,
) -> tuple[AnonymousReceiveStream, AnonymousSendStream]:
    """Opens an anonymous pipe. Returns (receive end, send end)."""
    with inheritance.open_pipe(capacity) as opened:
        sending = AnonymousSendStream(opened)
        return AnonymousReceiveStream(opened), sending
