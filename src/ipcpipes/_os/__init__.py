"""The operating system: the only user of the C layer.

Whole-file twins, chosen here once. Each gives the same names: the streams and the listener
that users hold, ``connect`` (one attempt, at once or an error), ``listen`` (takes the name),
``Permissions`` (what an access policy is compiled to) and ``transport`` (what it is called).
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from .windows_calls import Permissions as Permissions, transport as transport
    from .windows_listener import Listener as Listener, listen as listen
    from .windows_trio import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
        connect as connect,
    )
else:
    from .posix_calls import Permissions as Permissions, transport as transport
    from .posix_listener import Listener as Listener, listen as listen
    from .posix_trio import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
        connect as connect,
    )
