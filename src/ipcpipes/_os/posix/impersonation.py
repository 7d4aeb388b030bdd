"""POSIX: acting as a client (Linux), and the impersonation level of a client.

A client tells its level by the address that it binds before it connects. Unlike a byte on the
stream, the address does not interfere with the protocol of the two programs; the server can ask the
kernel for it at any time; and a client of another library has no such address. The address is in
the abstract namespace, where nothing has to be removed.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from typing import TYPE_CHECKING, Any

from ...errors import ImpersonationRefused, NotSupported
from ...options import Impersonation
from . import calls

assert sys.platform != "win32" or not TYPE_CHECKING

# "i" stands for "impersonate", "d" for "delegate". The rest are 42 random bits, so that clients do
# not collide, and no other user can bind the next address first. The address has at most 18 bytes:
# .NET on Linux copies a client's address into memory that is as long as its server's own address,
# and crashes if the client's is longer. The shortest server address has 18 bytes: "/tmp/",
# "CoreFxPipe_", a name of one letter and a NUL.
_SOURCE = re.compile(rb"\0ipcpipes-[id][A-Za-z0-9_-]{7}")


def source(level: Impersonation) -> bytes:
    """Returns the address that a client with this level binds; empty for the levels that need no
    permission of the client.
    """
    if level in ("anonymous", "identify") or sys.platform != "linux":
        return b""
    return b"\0ipcpipes-%s%s" % (level[:1].encode(), secrets.token_urlsafe(6)[:7].encode())


class Client:
    """A client that a thread can act as. Afterwards the thread cannot be used for anything else."""

    def __init__(self, credentials: Any) -> None:
        """Args:
            credentials: of the peer of a connection, at the server's end.

        Raises:
            NotSupported: on this system no single thread can act as another user.
            ImpersonationRefused: the client does not allow it.
        """
        if sys.platform != "linux":
            raise NotSupported(
                "run_as_client works on Linux and Windows only: on this system the whole process "
                "would change its user"
            )
        if not _SOURCE.fullmatch(credentials.address):
            raise ImpersonationRefused(
                "the client lets its server identify it, but not act as it; the client has to "
                'connect with impersonation="impersonate"'
            )
        self._credentials: calls.Credentials = credentials

    def enter(self) -> None:
        """Makes this thread act as the client until the thread ends.

        Raises:
            ImpersonationRefused: the system does not allow this process to act as the client.
        """
        _, uid, gid, groups, _ = self._credentials
        if not self._is_this_user():
            code = calls.become_user(uid, gid, groups)
        else:
            # This works without the right to change groups. Capabilities that this process was
            # given in addition to its user id do not belong to the client, so they are dropped. The
            # capabilities of root belong to root.
            code = calls.drop_capabilities() if uid else 0
        if code != 0:
            raise ImpersonationRefused(
                f"this process may not act as user {uid} ({os.strerror(code)}); it needs "
                "CAP_SETUID and CAP_SETGID, which root has"
            )

    def _is_this_user(self) -> bool:
        if sys.platform != "linux":
            return False
        _, uid, gid, groups, _ = self._credentials
        ids = (os.getresuid(), os.getresgid(), set(os.getgroups()))
        return ids == ((uid, uid, uid), (gid, gid, gid), set(groups))

    def leave(self) -> None:
        """Does nothing: a way back could be misused by code that acts as the client."""

    def close(self) -> None:
        """Does nothing: the client holds no resource."""
