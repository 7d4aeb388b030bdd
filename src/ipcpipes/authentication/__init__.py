"""Both ends prove to each other that they have the same secret, without sending it.

Use it where the system does not identify the peer, or identifies only a program in between: in
another container, or over a forwarded connection. On one machine, an
:class:`ipcpipes.AccessPolicy` and ``stream.peer`` identify the peer without a secret to keep.
"""

from __future__ import annotations

from .handshake import (
    Authenticate as Authenticate,
    authenticate_as_client as authenticate_as_client,
    authenticate_as_server as authenticate_as_server,
    authenticate_with as authenticate_with,
)
from .listener import AuthenticatingListener as AuthenticatingListener
