"""Both ends prove to each other that they have the same secret, and neither one shows it.

For peers of whom the system cannot say who they are, or says nothing that is worth having:
another container, a connection that somebody carries on. On one machine, an
:class:`ipcpipes.AccessPolicy` and ``stream.peer`` say it without a secret that has to be kept.
"""

from __future__ import annotations

from .handshake import (
    Greeting as Greeting,
    authenticate_as_client as authenticate_as_client,
    authenticate_as_server as authenticate_as_server,
    greeting as greeting,
)
from .listener import AuthenticatingListener as AuthenticatingListener
