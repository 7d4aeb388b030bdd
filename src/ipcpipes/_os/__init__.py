"""The operating system, with the trio driver. No other package uses the system-specific part of the
C layer.

The two systems have the same modules with the same names in them, and this module chooses one
system. The names are: the streams, the packets and the listener; ``connect`` (one attempt without
waiting), ``listen`` (takes the name), ``Kind`` (what a connection carries, in which direction),
``still_receives`` (whether a peer that has ended its sending half can still receive),
``Permissions`` and ``ServerCheck`` (the compiled access policy of a listener and of a client),
``transport`` (the kind of connection, as text for users); ``ChannelNumber`` and ``WrapperNumber``
(``fileno`` or ``handle`` of what is made over connections and listeners); and for parents and
children:
``open_pair``, ``Opened`` (the owner of a number), ``parent_end``, ``inheriting``, ``fingerprint``,
``close_number``, ``is_quick``, ``start``, ``give_up``, ``forgets_children``, ``SharedName``,
``join_shared``.
"""

from __future__ import annotations

import sys
from functools import partial

from ..endpoint import resolve_by
from .common.connection_end import Kind as Kind
from .common.trio_end import TrioEnd
from .common.trio_listener import accept_waiting as accept_waiting

if sys.platform == "win32":
    from .windows import calls, inheritance, listening, number, opened, process
    from .windows.calls import resolve
    from .windows.trio import connecting, listener, packets, pipe, shared, stream
else:
    from .posix import calls, inheritance, listening, number, opened, process
    from .posix.address import resolve_text as resolve
    from .posix.trio import connecting, listener, packets, pipe, shared, stream

Permissions = calls.Permissions
ServerCheck = calls.ServerCheck
transport = calls.transport

Opened = opened.Opened
APART = inheritance.APART
child_environment = inheritance.child_environment
close_number = inheritance.close
fingerprint = inheritance.fingerprint
inheriting = inheritance.inheriting
open_pair = inheritance.open_pair
forgets_children = process.forgets_children
NotStarted = process.NotStarted
is_quick = process.is_quick
start = process.start
give_up = process.give_up

connect = connecting.connector.connect
parent_end = connecting.connector.parent_end
still_receives = connecting.still_receives

Listener = listener.Listener
listen = partial(listening.listen, Listener)
SharedName = shared.SharedName
join_shared = shared.join_shared

ChannelNumber = number.ChannelNumber
WrapperNumber = number.WrapperNumber

Stream = stream.Stream
SendStream = stream.SendStream
ReceiveStream = stream.ReceiveStream
Packets = packets.Packets
AnonymousSendStream = pipe.SendStream
AnonymousReceiveStream = pipe.ReceiveStream

resolve_by(resolve)


def close_connection(connection: TrioEnd) -> None:
    """Closes a connection without a checkpoint."""
    connection._close()


def open_anonymous_pipe(
    capacity: int | None,
) -> tuple[AnonymousReceiveStream, AnonymousSendStream]:
    """Opens an anonymous pipe. Returns (receive end, send end)."""
    with inheritance.open_pipe(capacity) as opened:
        sending = AnonymousSendStream(opened)
        return AnonymousReceiveStream(opened), sending
