"""The check of the server that a client makes before it sends anything."""

from __future__ import annotations

import sys

from .._os import ServerCheck
from ..endpoint import Endpoint
from ..errors import NotSupported
from .policy import AccessPolicy

if sys.platform == "win32":
    from .windows import compile_server_policy, current_user_check
else:
    from .posix import compile_server_policy, current_user_check


def server_check(endpoint: Endpoint, policy: AccessPolicy | None) -> ServerCheck | None:
    """Returns the check of the server's owner; ``None`` if any user may be the server.

    Raises:
        TypeError: ``policy`` is not a policy.
        ValueError: it limits rights, which a server does not have.
        UnknownAccount: this machine does not have a user or group of the policy.
        NotSupported: the system cannot express the policy, or the endpoint is inherited.
    """
    if policy is None:
        # The address of a plain name belongs to this user; other endpoints may be those of another.
        return current_user_check(endpoint) if endpoint.kind == "named" else None
    if not isinstance(policy, AccessPolicy):
        raise TypeError(f"server must be an AccessPolicy or None, not {policy!r}")
    if endpoint.kind == "inherited":
        raise NotSupported(
            f"{endpoint}: only the parent of this process knows the other end of an inherited "
            "endpoint; leave server out"
        )
    rights = {account.rights for account in (*policy.allow, *policy.deny)}
    if rights - {"both"} or policy.open_to_all not in (None, "both"):
        raise ValueError("the rights of a server cannot be limited; leave rights out of server=")
    if policy.remote:
        raise ValueError("the server is always on this machine; leave remote out of server=")
    return compile_server_policy(policy, endpoint)
