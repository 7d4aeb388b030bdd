"""Windows: the instances of a named pipe; the drivers add the waiting."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ...endpoint import Endpoint
from ...errors import EndpointError, connect_error, in_use_error
from ..common.connection_slot import ConnectionSlot
from ..common.listening import AcceptStatus, ConnectionT, ListenerCore, ListenOptions
from . import calls, connecting
from .opened import Instance, Opened

assert sys.platform == "win32" or not TYPE_CHECKING

DEFAULT_BUFFER_SIZE = 65536


class ListeningPipe(ListenerCore[ConnectionT]):
    """Pipe instances that wait for clients.

    ``backlog`` instances wait at any time, each with a pending ConnectNamedPipe, because a client
    can only open an instance that exists. With a single waiting instance, which many servers have,
    a second client that comes before the next instance is made gets ERROR_PIPE_BUSY. All instances
    set the same event, and the accepting task or thread waits for that event; completion packets
    would need a task for each instance.

    This class enforces ``max_instances`` itself, and the system's limit stays at
    PIPE_UNLIMITED_INSTANCES: the system counts an instance until the client has closed too, so the
    system's limit could refuse the instance that holds the name.

    Only one thread at a time may use this object. The subclasses wait for clients.

    Lifetime: :meth:`_open` opens everything, and :meth:`_close` closes everything, also after an
    :meth:`_open` that failed or was interrupted.
    """

    _connector: ClassVar[connecting.Connector]

    def __init__(self, endpoint: Endpoint, address: str, options: ListenOptions) -> None:
        self._set_up(endpoint, options)
        self._address = address
        self._permissions: calls.Permissions = options.permissions.at(endpoint)
        self._waiting: deque[Instance] = deque()
        self._event = Opened()
        self._prepare()
        # This is the last step: once ``_closed`` is set, the finalizer needs all attributes.
        self._closed = False

    def _open(self, *, first: bool) -> None:
        """Takes the name.

        Args:
            first: no other process may have an instance of this name.
        """
        calls.create_event(self._event)
        self._add_instance(first=first)
        self._try_refill()

    @abstractmethod
    def _close(self) -> None:
        """Closes everything."""

    @property
    def address(self) -> str:
        return self._address

    @property
    def handle(self) -> int:
        """The handle of the event that is set when a client connects (Windows; elsewhere there is
        ``fileno()`` instead). A listener has a pipe for each client that may connect, so it has
        no other handle that stays the same.

        It belongs to the listener, and is valid until the listener is closed. You may wait for it
        (WaitForSingleObject). If it is set, a client has probably connected. ``accept`` can still
        wait: the client may have left, and the event is set for other reasons too.

        Do not set, reset or close it.

        Raises:
            trio.ClosedResourceError: the listener is closed.
        """
        self._require_open()
        return self._event.number

    def _try_accept(self) -> ConnectionT | AcceptStatus:
        self._try_refill()
        # The event is reset before the check: a client that comes later sets it again.
        calls.set_event(self._event.number, signalled=False)
        # The stream is not stored in a variable, because the traceback of an exception must not
        # keep it open.
        return self._next_connected() or (
            AcceptStatus.EXHAUSTED
            if self._exhausted and not self._waiting
            else AcceptStatus.NO_CLIENT
        )

    def _next_connected(self) -> ConnectionT | None:
        """Returns the stream of a client that has connected; ``None`` if there is no such
        client.
        """
        for instance in list(self._waiting):
            code = calls.connect_result(instance.number, instance.operation)
            if code == calls.ERROR_IO_INCOMPLETE:
                continue
            if code == calls.ERROR_OPERATION_ABORTED:
                # The thread that called ConnectNamedPipe has ended, and the system has cancelled
                # the operation. The next call finds a client that has connected since.
                code = self._begin_connect(instance)
                if code == 0:
                    self._set_event()
                    continue
            # The client has already disconnected.
            if code != 0 or calls.peek(instance.number) in calls.PEER_GONE:
                self._drop(instance)
                continue
            return self._take_over(instance)
        return None

    def _take_over(self, instance: Instance) -> ConnectionT:
        """Returns the stream of the instance's client. Makes the next instance first, so that the
        name always exists.
        """
        slot = ConnectionSlot(self, self._taken)
        try:
            self._taken.add(slot)
            self._waiting.remove(instance)
            self._try_refill()
            connection: ConnectionT = self._connector.adopt(
                instance, self._endpoint, self._address, self._kind, slot
            )
        except BaseException:
            self._taken.discard(slot)
            if instance not in self._waiting:
                self._drop(instance)
            raise
        return connection

    def _drop(self, instance: Instance) -> None:
        """Makes the next instance, and then closes this instance, whose client has left."""
        with instance:
            if instance in self._waiting:
                self._waiting.remove(instance)
            self._try_refill()
        self._set_event()

    def _set_event(self) -> None:
        """Makes accept check all instances again: ConnectNamedPipe resets the event
        (GetOverlappedResult, Remarks), and may have hidden that another client has connected.
        """
        calls.set_event(self._event.number, signalled=True)

    def _make_room(self) -> None:
        """Called when an accepted stream is about to close its handle. Its slot is already free."""
        if not self._closed:
            self._try_refill()
            self._set_event()

    def _try_refill(self) -> None:
        """Makes the missing instances, or notes that the system is out of handles or memory."""
        try:
            self._refill()
        except OSError as error:
            calls.require_system_error(error)
            if error.winerror not in calls.EXHAUSTED:
                raise
            self._note_exhausted(error)
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
                buffer_size=self._buffer_size or DEFAULT_BUFFER_SIZE,
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
        """Begins an overlapped ConnectNamedPipe. Returns the error code."""
        return int(calls.begin_connect(instance.number, instance.operation, self._event.number))

    def _close_instances(self) -> None:
        self._drop_kept()
        for instance in list(self._waiting):
            instance.close()
        self._waiting.clear()


InstancesT = TypeVar("InstancesT", bound=ListeningPipe[Any])


def listen(
    listener: type[InstancesT], endpoint: Endpoint, *, is_shared: bool = False, **asked: Any
) -> InstancesT:
    """Takes the name and listens. If this fails, it leaves nothing behind.

    Args:
        is_shared: whether another process has made the first instance of the name.
        asked: the values of :class:`.ListenOptions`.
    """
    address = calls.resolve(endpoint)
    made = listener(endpoint, address, ListenOptions(**asked))
    try:
        made._open(first=not is_shared)
    except BaseException as error:
        made._close()
        if not isinstance(error, OSError) or isinstance(error, EndpointError):
            raise
        calls.require_system_error(error)
        raise connect_error("winerror", error.winerror or -1, endpoint, address) from None
    return made
