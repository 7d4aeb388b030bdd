"""The part of a listener that is the same on every system and in every driver."""

from __future__ import annotations

import enum
import logging
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import trio

from ...abc.uncopied import Uncopied
from .connection_end import ConnectionEnd, Kind
from .connection_slot import ConnectionSlot

if TYPE_CHECKING:
    from ...endpoint import Endpoint

logger = logging.getLogger("ipcpipes")

ConnectionT = TypeVar("ConnectionT", bound=ConnectionEnd)


class AcceptStatus(enum.Enum):
    """Why an accept returned no connection."""

    NO_CLIENT = enum.auto()
    """No client is waiting."""
    FULL = enum.auto()
    """``max_instances`` connections are open."""
    VANISHED = enum.auto()
    """A client had connected, but it has left or was refused."""
    EXHAUSTED = enum.auto()
    """The system is out of descriptors or memory."""


EXHAUSTION_PAUSE = 0.05
"""Seconds until the next attempt: no system reports when descriptors or memory are free again."""


class ListenOptions(NamedTuple):
    """The arguments of a ``listen``.

    Attributes:
        permissions: the ``Permissions`` of the system.
    """

    permissions: Any
    backlog: int
    kind: Kind = "duplex"
    max_instances: int | None = None
    buffer_size: int | None = None


class ListenerCore(Uncopied, ABC, Generic[ConnectionT]):
    """The state of a listener.

    Attributes:
        _taken: one :class:`ConnectionSlot` for each open connection.
        _exhausted: the last accept found the system out of descriptors, handles or memory.
        _kept: a client that a wait has accepted; the next accept returns it.
        _closed: true until the system's ``__init__`` is about to end, and again after closing.
    """

    _instead = "to serve one endpoint from several processes, use a WorkerGroup"
    _closed = True
    _kept: ConnectionT | None = None

    def _set_up(self, endpoint: Endpoint, options: ListenOptions) -> None:
        self._endpoint = endpoint
        self._kind = options.kind
        self._max_instances = math.inf if options.max_instances is None else options.max_instances
        self._backlog = options.backlog
        self._buffer_size = options.buffer_size
        self._taken: set[ConnectionSlot] = set()
        self._exhausted = False

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    @abstractmethod
    def address(self) -> str: ...

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed here")

    def _next_client(self) -> ConnectionT | AcceptStatus:
        """Returns the client that a wait has accepted, or accepts one."""
        kept, self._kept = self._kept, None
        return self._try_accept() if kept is None else kept

    def _drop_kept(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept._close()

    def _note_exhausted(self, reason: object) -> None:
        if not self._exhausted:
            logger.warning("%r: %s; waiting for it to end", self, reason)
        self._exhausted = True

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<ipcpipes Listener {self.address!r}{state}>"

    # The methods that the system and the driver implement

    @abstractmethod
    def _prepare(self) -> None:
        """Makes the objects that the driver needs."""

    @abstractmethod
    def _try_accept(self) -> ConnectionT | AcceptStatus:
        """Accepts a client. Returns the connection, or the reason why no client was accepted."""
