"""What a client demands of who serves it."""

from __future__ import annotations

import sys

from .._os import ServerCheck
from ..endpoint import Endpoint
from ..errors import NotSupported
from .policy import AccessPolicy

if sys.platform == "win32":
    from .windows import compile_server_policy
else:
    from .posix import compile_server_policy


def server_check(endpoint: Endpoint, policy: AccessPolicy | None) -> ServerCheck | None:
    """What the server's owner has to pass; ``None`` where anybody may serve.

    Raises:
        TypeError, ValueError: it is no policy, or speaks of rights, which a server does not need.
        UnknownAccount, NotSupported: what it says cannot be had here.
    """
    if policy is None:
        # A plain name is this user's by its address; other endpoints may be meant to be another's.
        if endpoint.kind != "named":
            return None
        policy = AccessPolicy.current_user()
    elif not isinstance(policy, AccessPolicy):
        raise TypeError(f"server must be an AccessPolicy or None, not {policy!r}")
    elif endpoint.kind == "inherited":
        raise NotSupported(
            f"{endpoint}: who is at the other end of what this process was started with is known "
            "by its parent alone; leave server out"
        )
    rights = {account.rights for account in (*policy.allow, *policy.deny)}
    if rights - {"both"} or policy.open_to_all not in (None, "both"):
        raise ValueError("a server has no rights to restrict; name users and groups alone")
    if policy.remote:
        raise ValueError("a server is on this machine; leave remote out")
    return compile_server_policy(policy, endpoint)
