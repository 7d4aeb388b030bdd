"""The operating system, with the driver for code without an event loop; see ``_os/__init__.py``.

A module of its own, so that trio programs do not load it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from .windows.blocking.connecting import connect as connect, parent_end as parent_end
    from .windows.blocking.duplex import Duplex as Duplex
    from .windows.blocking.listener import Listener as Listener, listen as listen
    from .windows.blocking.packets import Packets as Packets
    from .windows.blocking.pipe import (
        ReceiveStream as AnonymousReceiveStream,
        SendStream as AnonymousSendStream,
        open_anonymous_pipe as open_anonymous_pipe,
    )
    from .windows.blocking.stream import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
    )
    from .windows.process import close_input as close_input, ends_within as ends_within
else:
    from .posix.blocking.connecting import connect as connect, parent_end as parent_end
    from .posix.blocking.duplex import Duplex as Duplex
    from .posix.blocking.listener import Listener as Listener, listen as listen
    from .posix.blocking.packets import Packets as Packets
    from .posix.blocking.pipe import (
        ReceiveStream as AnonymousReceiveStream,
        SendStream as AnonymousSendStream,
        open_anonymous_pipe as open_anonymous_pipe,
    )
    from .posix.blocking.stream import (
        ReceiveStream as ReceiveStream,
        SendStream as SendStream,
        Stream as Stream,
    )
    from .posix.process import close_input as close_input, ends_within as ends_within

__all__ = ["AnonymousReceiveStream", "AnonymousSendStream"]
