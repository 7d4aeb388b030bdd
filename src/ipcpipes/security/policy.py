"""The access policy of a listener: who may connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AccessPolicy"]


@dataclass(frozen=True)
class AccessPolicy:
    """Who may connect to a listener. Clients on other machines never may.

    Make one with :meth:`current_user` or :meth:`everyone`.
    """

    admits: Literal["current user", "everyone"]

    @classmethod
    def current_user(cls) -> AccessPolicy:
        """Only processes of the user that listens. The default.

        Linux and macOS: the socket file has mode 0600, and a peer with another effective uid is
        turned away at accept; root (uid 0), which no mode keeps out, is let in. Windows: an
        access list that names this user alone, instead of the system's default, which lets
        Everyone read ("Named Pipe Security and Access Rights").
        """
        return cls("current user")

    @classmethod
    def everyone(cls) -> AccessPolicy:
        """Every user of this machine.

        A plain name stays within this user's private directory on Linux and macOS, so that
        others reach only an endpoint made by ``Endpoint.path`` or ``Endpoint.abstract``.
        On Windows others may connect, and may not create instances of the pipe.
        """
        return cls("everyone")
