"""What a client knows about its server, with and without an event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .session import Session

__all__ = ["Offered"]


class Offered:
    """The part of a client that says what its server has.

    If the interface has an operation called ``has`` or ``server_version``, the operation replaces
    the member of this class.

    Attributes:
        server_version: the version of the interface at the server: major, minor. Both ends know
            everything up to the smaller of the two minor versions.
    """

    server_version: tuple[int, int]

    def _learn(self, session: Session, operations: Mapping[str, Any]) -> None:
        self._session = session
        self.server_version = session.server_version
        for name in ("has", "server_version"):
            if name in operations:
                setattr(self, name, operations[name])

    def has(self, operation: str) -> bool:
        """Whether the server has this operation, so that a call does not fail with
        :class:`ProcnumOutOfRange` or :class:`WrongPipeVersion`. The server's interface may have
        another minor version than this client's. This does not ask the server, which listed its
        operations when the connection began.

        Args:
            operation: its name; it may be one that this client's interface does not have.
        """
        return self._session.has(operation)
