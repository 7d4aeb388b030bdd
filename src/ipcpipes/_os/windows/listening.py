"""Windows: the instances of a named pipe, as far as nothing has to be waited for."""

from __future__ import annotations

import logging
import math
import sys
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ...endpoint import Endpoint
from ...errors import EndpointError, connect_error, in_use_error
from ..common.accept_status import AcceptStatus
from ..common.place import Place
from . import calls, connecting as windows_connection
from .opened import Instance, Opened

assert sys.platform == "win32" or not TYPE_CHECKING

logger = logging.getLogger("ipcpipes")

DEFAULT_BUFFER_SIZE = 65536

ConnectionT = TypeVar("ConnectionT")


class ListeningPipe(Generic[ConnectionT]):
    """Pipe instances that wait for clients.

    ``backlog`` instances wait at any time, each with a ConnectNamedPipe under way, because a
    client finds only an instance that exists: with one at a time, as many servers have it, a
    second client that comes before the next one is made sees ERROR_PIPE_BUSY. All of them
    set one event, for whoever accepts to wait for; completion packets are no use here, since
    they would need a task for each.

    The system's own limit is left at PIPE_UNLIMITED_INSTANCES and ``max_instances`` is kept
    by counting: the system goes on counting an instance until its client too has closed,
    and so could leave no room for the one that holds the name.

    One thread at a time; whoever waits for clients builds on this, and sets ``_closed``.

    Lifetime: :meth:`_open` opens all that there is, and :meth:`_close` closes it, also after an
    :meth:`_open` that has failed or was interrupted.
    """

    _connections: ClassVar[windows_connection.Connections]

    def __init__(
        self,
        endpoint: Endpoint,
        address: str,
        *,
        kind: windows_connection.Kind,
        max_instances: int | None,
        backlog: int,
        buffer_size: int | None,
        permissions: calls.Permissions,
    ) -> None:
        self._endpoint = endpoint
        self._address = address
        self._kind: windows_connection.Kind = kind
        self._max_instances = math.inf if max_instances is None else max_instances
        self._backlog = backlog
        self._buffer_size = DEFAULT_BUFFER_SIZE if buffer_size is None else buffer_size
        self._permissions = permissions
        self._taken: set[Place] = set()
        self._waiting: deque[Instance] = deque()
        self._event = Opened()
        self._closed = False
        self._exhausted = False

    def _open(self, *, first: bool) -> None:
        """Takes the name.

        Args:
            first: no other process may have instances of it.
        """
        calls.create_event(self._event)
        self._add_instance(first=first)
        self._try_refill()

    @abstractmethod
    def _close(self) -> None:
        """Gives all up."""

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return self._address

    def _try_accept(self) -> ConnectionT | AcceptStatus:
        """A new connection, or what stands in its way."""
        self._try_refill()
        # The event is cleared before the look: what comes later sets it again.
        calls.set_event(self._event.number, signalled=False)
        # Not stored in a variable: if an exception comes, its traceback must not keep it open.
        return self._next_connected() or self._obstacle()

    def _obstacle(self) -> AcceptStatus:
        return (
            AcceptStatus.EXHAUSTED if self._exhausted and not self._waiting else AcceptStatus.NOBODY
        )

    def _next_connected(self) -> ConnectionT | None:
        """The stream of a client that has come, if there is one."""
        for instance in list(self._waiting):
            code = calls.connect_result(instance.number, instance.operation)
            if code == calls.ERROR_IO_INCOMPLETE:
                continue
            if code == calls.ERROR_OPERATION_ABORTED:
                # The thread that began to wait has ended, and the system has cancelled that. A
                # client who has come since is there when we begin again.
                code = self._begin_connect(instance)
                if code == 0:
                    self._look_again()
                    continue
            # A client that has left already is passed over, and so is its instance.
            if code != 0 or calls.peek(instance.number) in calls.PEER_GONE:
                self._drop(instance)
                continue
            return self._take_over(instance)
        return None

    def _take_over(self, instance: Instance) -> ConnectionT:
        """The stream of its client. Its successor is made first, so that the name goes on."""
        place = Place(self, self._taken)
        try:
            self._taken.add(place)
            self._waiting.remove(instance)
            self._try_refill()
            connection: ConnectionT = self._connections[self._kind](
                instance, self._endpoint, self._address, server_end=True, owner=place
            )
        except BaseException:
            self._taken.discard(place)
            if instance not in self._waiting:
                self._drop(instance)
            raise
        return connection

    def _drop(self, instance: Instance) -> None:
        """Gives up the instance of a client, after its successor is there."""
        with instance:
            if instance in self._waiting:
                self._waiting.remove(instance)
            self._try_refill()
        self._look_again()

    def _look_again(self) -> None:
        # Beginning to wait for a client clears the event (GetOverlappedResult, Remarks), and may
        # have hidden the arrival of another one from accept.
        calls.set_event(self._event.number, signalled=True)

    def _count_released(self) -> None:
        """A stream that was accepted is about to close its handle, and its place is free."""
        if not self._closed:
            self._try_refill()
            self._look_again()

    def _try_refill(self) -> None:
        """Makes the instances that are missing, or notes that the system has no room."""
        try:
            self._refill()
        except OSError as error:
            calls.require_system_error(error)
            if error.winerror not in calls.EXHAUSTED:
                raise
            if not self._exhausted:
                logger.warning("%r: %s; waiting for it to end", self, error)
            self._exhausted = True
        else:
            self._exhausted = False

    def _refill(self) -> None:
        while (
            len(self._waiting) < self._backlog
            and len(self._waiting) + len(self._taken) < self._max_instances
        ):
            self._add_instance(first=False)

    def _add_instance(self, *, first: bool) -> None:
        instance = Instance()
        try:
            result = calls.create_instance(
                instance,
                self._address,
                first=first,
                kind=self._kind,
                buffer_size=self._buffer_size,
                permissions=self._permissions,
            )
            if first and -result in (calls.ERROR_ACCESS_DENIED, calls.ERROR_PIPE_BUSY):
                raise in_use_error(self._endpoint, self._address, None)
            if result < 0:
                raise calls.winerror(-result)
            code = self._begin_connect(instance)
            if code != 0:
                raise calls.winerror(code)
            self._waiting.append(instance)
        except BaseException:
            if instance not in self._waiting:
                instance.close()
            raise

    def _begin_connect(self, instance: Instance) -> int:
        """Begins to wait for a client; the error code."""
        return int(calls.begin_connect(instance.number, instance.operation, self._event.number))

    def _close_instances(self) -> None:
        for instance in list(self._waiting):
            instance.close()
        self._waiting.clear()

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<ipcpipes Listener {self.address!r}{state}>"


InstancesT = TypeVar("InstancesT", bound=ListeningPipe[Any])


def listen(
    listener: type[InstancesT],
    endpoint: Endpoint,
    *,
    kind: windows_connection.Kind,
    max_instances: int | None,
    backlog: int,
    buffer_size: int | None,
    permissions: calls.Permissions,
    is_shared: bool = False,
) -> InstancesT:
    """Takes the name and listens; what it made is gone again when it fails."""
    address = calls.resolve(endpoint)
    made = listener(
        endpoint,
        address,
        kind=kind,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
        permissions=permissions.at(endpoint),
    )
    try:
        # Where others have instances of it too, the first one is not ours.
        made._open(first=not is_shared)
    except BaseException as error:
        made._close()
        if not isinstance(error, OSError) or isinstance(error, EndpointError):
            raise
        calls.require_system_error(error)
        raise connect_error("winerror", error.winerror or -1, endpoint, address) from None
    return made
