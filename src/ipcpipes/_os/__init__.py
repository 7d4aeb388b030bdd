"""The operating system, with the trio driver. This room alone uses the system part of the C layer.

The two systems have the same modules with the same names in them, and this module chooses one
system. The names are: the streams, the packets and the listener; ``connect`` (one attempt without
waiting), ``listen`` (takes the name), ``Kind`` (what a connection carries, in which direction),
``still_receives`` (whether a peer that has ended its sending half can still receive),
``Permissions`` and ``ServerCheck`` (the compiled access policy of a listener and of a client),
``transport`` (its name, for people); and for parents and children: ``open_pair``, ``parent_end``,
``inheriting``, ``fingerprint``, ``close_number``, ``forgets_children``, ``SharedName``,
``join_shared``.
"""

from __future__ import annotations

import sys

from ..endpoint import resolve_by

if sys.platform == "win32":
    from .windows.calls import (
        Permissions as Permissions,
        ServerCheck as ServerCheck,
        resolve as resolve,
        transport as transport,
    )
    from .windows.connecting import Kind as Kind
    from .windows.inheritance import (
        APART as APART,
        child_environment as child_environment,
        close as close_number,
        fingerprint as fingerprint,
        inheriting as inheriting,
        open_pair as open_pair,
    )
    from .windows.process import forgets_children as forgets_children
    from .windows.trio.connecting import (
        connect as connect,
        parent_end as parent_end,
        still_receives as still_receives,
    )
    from .windows.trio.listener import Listener as Listener, listen as listen
    from .windows.trio.packets import Packets as Packets
    from .windows.trio.pipe import (
        ReceiveStream as AnonymousReceiveStream,
        SendStream as AnonymousSendStream,
        open_anonymous_pipe as open_anonymous_pipe,
    )
    from .windows.trio.shared import (
        SharedName as SharedName,
        accept_waiting as accept_waiting,
        join_shared as join_shared,
    )
    from .windows.trio.stream import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
    )
else:
    from .posix.address import resolve_text as resolve
    from .posix.calls import (
        Permissions as Permissions,
        ServerCheck as ServerCheck,
        transport as transport,
    )
    from .posix.connecting import Kind as Kind
    from .posix.inheritance import (
        APART as APART,
        child_environment as child_environment,
        close as close_number,
        fingerprint as fingerprint,
        inheriting as inheriting,
        open_pair as open_pair,
    )
    from .posix.process import forgets_children as forgets_children
    from .posix.trio.connecting import (
        connect as connect,
        parent_end as parent_end,
        still_receives as still_receives,
    )
    from .posix.trio.listener import Listener as Listener, listen as listen
    from .posix.trio.packets import Packets as Packets
    from .posix.trio.pipe import (
        ReceiveStream as AnonymousReceiveStream,
        SendStream as AnonymousSendStream,
        open_anonymous_pipe as open_anonymous_pipe,
    )
    from .posix.trio.shared import (
        SharedName as SharedName,
        accept_waiting as accept_waiting,
        join_shared as join_shared,
    )
    from .posix.trio.stream import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
    )

__all__ = ["AnonymousReceiveStream", "AnonymousSendStream", "close_number"]

resolve_by(resolve)


def close_connection(connection: Stream | SendStream | ReceiveStream | Packets) -> None:
    """Closes a connection without a checkpoint."""
    connection._close()
