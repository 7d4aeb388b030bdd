"""Windows: acting as a client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ...errors import ImpersonationRefused
from . import calls

assert sys.platform == "win32" or not TYPE_CHECKING

_CANNOT_IMPERSONATE = 1368  # ERROR_CANNOT_IMPERSONATE
_IMPERSONATION = 2  # SecurityImpersonation (winnt.h)


class Client:
    """A client as whom a thread can act.

    Lifetime: it owns the client's token from :meth:`__init__` to :meth:`close`. The token is taken
    at once, and not the pipe's number into the thread, which might be another pipe's by then.
    """

    def __init__(self, handle: int) -> None:
        """Args:
            handle: the server's end of a connection.

        Raises:
            ImpersonationRefused: the client does not want it, or this process may not.
        """
        code, self._token, level = calls.client_token(handle)
        if code == _CANNOT_IMPERSONATE:
            raise ImpersonationRefused(
                "Windows does not say yet who the client is; receive something first"
            )
        if code == 0 and level < _IMPERSONATION:
            self.close()
            code = calls.ERROR_BAD_IMPERSONATION_LEVEL
        if code in (calls.ERROR_BAD_IMPERSONATION_LEVEL, calls.ERROR_CANT_OPEN_ANONYMOUS):
            raise ImpersonationRefused(
                "the client lets its server know who it is at most, and not act in its name: it "
                'has to connect with impersonation="impersonate"; or this process has no '
                "SeImpersonatePrivilege"
            )
        if code != 0:
            raise ImpersonationRefused(f"Windows does not let us: {calls.winerror(code)}")

    def enter(self) -> None:
        """Makes this thread act as the client.

        Raises:
            ImpersonationRefused: the system does not let this process do it.
        """
        code = calls.impersonate(self._token)
        if code != 0:
            raise ImpersonationRefused(f"Windows does not let us: {calls.winerror(code)}")

    def leave(self) -> None:
        """Makes this thread act as the process again, or ends the process."""
        calls.revert()

    def close(self) -> None:
        calls.close(self._token)
