"""The system's half of :mod:`ipcpipes.blocking`: whole-file twins, chosen here once.

Apart from ``_os/__init__.py``, so that trio programs do not load it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from .windows_blocking import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
    )
    from .windows_blocking_anonymous import (
        ReceiveStream as AnonymousReceiveStream,
        SendStream as AnonymousSendStream,
        open_anonymous_pipe as open_anonymous_pipe,
    )
    from .windows_blocking_connection import connect as connect, parent_end as parent_end
    from .windows_blocking_duplex import Duplex as Duplex
    from .windows_blocking_listener import Listener as Listener, listen as listen
    from .windows_blocking_packets import Packets as Packets
    from .windows_process import close_input as close_input, ends_within as ends_within
else:
    from .posix_blocking import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
    )
    from .posix_blocking_anonymous import (
        ReceiveStream as AnonymousReceiveStream,
        SendStream as AnonymousSendStream,
        open_anonymous_pipe as open_anonymous_pipe,
    )
    from .posix_blocking_connection import connect as connect, parent_end as parent_end
    from .posix_blocking_duplex import Duplex as Duplex
    from .posix_blocking_listener import Listener as Listener, listen as listen
    from .posix_blocking_packets import Packets as Packets
    from .posix_process import close_input as close_input, ends_within as ends_within

__all__ = ["AnonymousReceiveStream", "AnonymousSendStream"]
