"""The operating system: the only user of the system part of the C layer.

Whole-file twins, chosen here once. Each gives the same names: the streams, the packets and the
listener, ``connect`` (one attempt, at once or an error), ``listen`` (takes the name), ``Kind``
(what flows and in which direction), ``Permissions`` (what an access policy is compiled to) and
``transport`` (what it is called).
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from .windows_calls import Permissions as Permissions, transport as transport
    from .windows_connection import Kind as Kind, connect as connect
    from .windows_listener import Listener as Listener, listen as listen
    from .windows_packets import Packets as Packets
    from .windows_trio import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
    )
else:
    from .posix_calls import Permissions as Permissions, transport as transport
    from .posix_connection import Kind as Kind, connect as connect
    from .posix_listener import Listener as Listener, listen as listen
    from .posix_packets import Packets as Packets
    from .posix_trio import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
    )
