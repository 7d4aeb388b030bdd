"""What a client knows about its server, under every driver."""

from __future__ import annotations

from collections.abc import Mapping

from .session import Session

__all__ = ["ServerView"]


class ServerView:
    """The part of a client that describes its server.

    If the interface has an operation called ``has`` or ``server_version``, the operation replaces
    the member of this class.

    Attributes:
        server_version: the server's version of the interface: major, minor. Both ends know
            everything up to the smaller of the two minor versions.
    """

    server_version: tuple[int, int]

    def _learn(self, session: Session, operations: Mapping[str, object]) -> None:
        self._session = session
        self.server_version = session.server_version
        for name in ("has", "server_version"):
            if name in operations:
                setattr(self, name, operations[name])

    def has(self, operation: str) -> bool:
        """Whether the server has this operation. If it does not, a call fails with
        :class:`ProcnumOutOfRange` or :class:`WrongPipeVersion`. The minor version of the server's
        interface may differ from this client's. Nothing is sent: the server listed its operations
        when the connection began.

        Args:
            operation: its name; this client's interface need not have it.
        """
        return self._session.has(operation)
