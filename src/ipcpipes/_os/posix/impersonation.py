"""POSIX: acting as a client (Linux), and what a client lets its server do.

A client says how far its server may go by the address that it connects from: unlike a byte, that
does not get into what the two have to say to each other, the server has it from the kernel at any
time, and a client that knows nothing of it has said nothing. The name is in the abstract namespace,
where it leaves nothing behind.
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

# With "i" for "impersonate", "d" for "delegate". No longer than 18 bytes: .NET on Linux copies a
# client's address into memory as long as its server's own, and dies of a longer one; "/tmp/",
# "CoreFxPipe_", a name of one letter and a NUL are 18. What follows makes the name new: 42 random
# bits, so that clients do not meet, and no other user can have taken the next one.
_SOURCE = re.compile(rb"\0ipcpipes-[id][A-Za-z0-9_-]{7}")


def source(level: Impersonation) -> bytes:
    """What a client connects from, to say this; nothing for what is so anyway."""
    if level in ("anonymous", "identify") or sys.platform != "linux":
        return b""
    return b"\0ipcpipes-%s%s" % (level[:1].encode(), secrets.token_urlsafe(6)[:7].encode())


class Client:
    """A client as whom a thread can act. The thread is good for nothing else afterwards."""

    def __init__(self, credentials: Any) -> None:
        """Args:
            credentials: of the peer of a connection, at the server's end.

        Raises:
            NotSupported: nobody can act as another user here.
            ImpersonationRefused: the client does not want it.
        """
        if sys.platform != "linux":
            raise NotSupported(
                "run_as_client is for Linux and Windows: here it would be the "
                "whole process that changes its user"
            )
        if not _SOURCE.fullmatch(credentials.address):
            raise ImpersonationRefused(
                "the client lets its server know who it is, and not act in its name; it has to "
                'connect with impersonation="impersonate"'
            )
        self._credentials: calls.Credentials = credentials

    def enter(self) -> None:
        """Makes this thread act as the client, for the rest of its life.

        Raises:
            ImpersonationRefused: the system does not let this process do it.
        """
        _, uid, gid, groups, _ = self._credentials
        if not self._is_us():
            code = calls.become_user(uid, gid, groups)
        else:
            # Without a right to change groups. The client may not have what this process was given
            # beside its user id; root's capabilities are root's.
            code = calls.drop_capabilities() if uid else 0
        if code != 0:
            raise ImpersonationRefused(
                f"this process may not act as user {uid} ({os.strerror(code)}); it needs "
                "CAP_SETUID and CAP_SETGID, which root has"
            )

    def _is_us(self) -> bool:
        if sys.platform != "linux":
            return False
        _, uid, gid, groups, _ = self._credentials
        ids = (os.getresuid(), os.getresgid(), set(os.getgroups()))
        return ids == ((uid, uid, uid), (gid, gid, gid), set(groups))

    def leave(self) -> None:
        """There is no way back, so that nobody can be talked into going it."""

    def close(self) -> None:
        """There is nothing to give back."""
