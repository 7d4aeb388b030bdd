"""The operating system, with the driver for code without an event loop; see ``_os/__init__.py``.

A module of its own, so that trio programs do not load it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from .windows import process
    from .windows.blocking import connecting, duplex, listener, packets, pipe, stream
else:
    from .posix import process
    from .posix.blocking import connecting, duplex, listener, packets, pipe, stream

connect = connecting.connect
parent_end = connecting.parent_end
Listener = listener.Listener
listen = listener.listen

Stream = stream.Stream
SendStream = stream.SendStream
ReceiveStream = stream.ReceiveStream
Duplex = duplex.Duplex
Packets = packets.Packets
AnonymousSendStream = pipe.SendStream
AnonymousReceiveStream = pipe.ReceiveStream
open_anonymous_pipe = pipe.open_anonymous_pipe

close_input = process.close_input
ends_within = process.ends_within
