"""What a client knows of its server, with and without an event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .session import Session

__all__ = ["Offered"]


class Offered:
    """The part of a client that says what its server has.

    An operation of the interface that is called ``has`` or ``server_version`` is found instead.

    Attributes:
        server_version: the version of the interface that the server has: major, minor. The smaller
            of the two minor versions is what both ends know.
    """

    server_version: tuple[int, int]

    def _learn(self, session: Session, operations: Mapping[str, Any]) -> None:
        self._session = session
        self.server_version = session.server_version
        for name in ("has", "server_version"):
            if name in operations:
                setattr(self, name, operations[name])

    def has(self, operation: str) -> bool:
        """Whether the server has this operation, so that calling it does not fail with
        :class:`ProcnumOutOfRange` or :class:`WrongPipeVersion`: its interface may be of another
        minor version than this client's. It does not ask the server, which has said so when the
        connection began.

        Args:
            operation: its name. One that this client's interface does not have may be there, too.
        """
        return self._session.has(operation)
