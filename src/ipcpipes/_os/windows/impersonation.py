"""Windows: threads that act as a client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ...errors import ImpersonationRefused
from . import calls

assert sys.platform == "win32" or not TYPE_CHECKING

_CANNOT_IMPERSONATE = 1368  # ERROR_CANNOT_IMPERSONATE
_IMPERSONATION = 2  # SecurityImpersonation (winnt.h)


class Client:
    """The identity of a client, which a thread can take on.

    Lifetime: it owns the client's token from :meth:`__init__` to :meth:`close`. It takes the token
    at once: if the thread asked the pipe for it later, the handle could belong to another pipe.
    """

    def __init__(self, handle: int) -> None:
        """Args:
            handle: the server end of a connection.

        Raises:
            ImpersonationRefused: the client does not allow it, or this process may not do it.
        """
        code, self._token, level = calls.client_token(handle)
        if code == _CANNOT_IMPERSONATE:
            raise ImpersonationRefused(
                "Windows does not know the client's identity yet; receive something first"
            )
        if code == 0 and level < _IMPERSONATION:
            self.close()
            code = calls.ERROR_BAD_IMPERSONATION_LEVEL
        if code in (calls.ERROR_BAD_IMPERSONATION_LEVEL, calls.ERROR_CANT_OPEN_ANONYMOUS):
            raise ImpersonationRefused(
                "the client lets its server ask for its identity, but not act under it: it has to "
                'connect with impersonation="impersonate"; or this process lacks '
                "SeImpersonatePrivilege"
            )
        if code != 0:
            raise _refused(code)

    def enter(self) -> None:
        """Makes this thread act as the client.

        Raises:
            ImpersonationRefused: the system does not allow it.
        """
        code = calls.impersonate(self._token)
        if code != 0:
            raise _refused(code)

    def leave(self) -> None:
        """Makes this thread act as the process again. If that fails, ends the process."""
        calls.revert()

    def close(self) -> None:
        calls.close(self._token)


def _refused(code: int) -> ImpersonationRefused:
    return ImpersonationRefused(f"Windows does not allow it: {calls.winerror(code)}")
