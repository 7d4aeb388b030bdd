"""Windows: the instances of a named pipe as a trio listener."""

from __future__ import annotations

import logging
import math
import sys
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from .. import abc
from ..endpoint import Endpoint
from ..errors import EndpointError, connect_error, in_use_error
from . import windows_calls as calls, windows_connection as connections

assert sys.platform == "win32" or not TYPE_CHECKING

logger = logging.getLogger("ipcpipes")

DEFAULT_BUFFER_SIZE = 65536
_EXHAUSTION_PAUSE = 0.05  # seconds


class _Instance(NamedTuple):
    """A pipe instance that waits for a client, with the kernel's operation."""

    handle: int
    operation: Any


class Listener(abc.Listener[connections.ConnectionT]):
    """Pipe instances that wait for clients.

    ``backlog`` instances wait at any time, each with a ConnectNamedPipe under way, because a
    client finds only an instance that exists: with one at a time, as many servers have it, a
    second client that comes before the next one is made sees ERROR_PIPE_BUSY. All of them
    set one event, which :meth:`accept` waits for; completion packets are no use here, since
    they would need a task for each.

    The system's own limit is left at PIPE_UNLIMITED_INSTANCES and ``max_instances`` is kept
    by counting: the system goes on counting an instance until its client too has closed,
    and so could leave no room for the one that holds the name.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        address: str,
        *,
        kind: connections.Kind,
        max_instances: int | None,
        backlog: int,
        buffer_size: int | None,
        permissions: calls.Permissions,
    ) -> None:
        self._endpoint = endpoint
        self._address = address
        self._kind: connections.Kind = kind
        self._max_instances = math.inf if max_instances is None else max_instances
        self._backlog = backlog
        self._buffer_size = DEFAULT_BUFFER_SIZE if buffer_size is None else buffer_size
        self._sddl = permissions.sddl
        self._open_count = 0
        self._waiting: deque[_Instance] = deque()
        self._accepting = False
        self._closed = False
        self._exhausted = False
        self._token = trio.lowlevel.current_trio_token()
        self._event = calls.create_event()
        try:
            self._add_instance(first=True)
            self._try_refill()
        except BaseException:
            self._close()
            raise

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return self._address

    @property
    def connection_count(self) -> int:
        return self._open_count

    async def accept(self) -> connections.ConnectionT:
        if self._accepting:
            raise trio.BusyResourceError("another task is accepting from this listener")
        self._accepting = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            while True:
                self._require_open()
                self._try_refill()
                # The event is cleared before the look: what comes later sets it again.
                calls.set_event(self._event, signalled=False)
                stream = self._next_connected()
                if stream is not None:
                    break
                if self._exhausted and not self._waiting:
                    await trio.sleep(_EXHAUSTION_PAUSE)
                else:
                    # No checkpoint when the event is set already.
                    await trio.lowlevel.WaitForSingleObject(self._event)
                    await trio.lowlevel.checkpoint()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return stream
        finally:
            self._accepting = False
            if self._closed:
                self._close_event()

    def _next_connected(self) -> connections.ConnectionT | None:
        """The stream of a client that has come, if there is one."""
        for instance in list(self._waiting):
            code = calls.connect_result(instance.handle, instance.operation)
            if code == calls.ERROR_IO_INCOMPLETE:
                continue
            self._waiting.remove(instance)
            # A client that has left already is passed over, and so is its instance; its
            # successor is made first, so that the name goes on.
            left = code != 0 or calls.peek(instance.handle) in calls.PEER_GONE
            if left:
                self._drop(instance)
                continue
            self._open_count += 1
            try:
                self._try_refill()
            except BaseException:
                self._open_count -= 1
                calls.close(instance.handle)
                raise
            stream: connections.ConnectionT = connections.CONNECTIONS[self._kind](
                instance.handle,
                self._endpoint,
                self._address,
                server_end=True,
                owner=self,
            )
            return stream
        return None

    def _drop(self, instance: _Instance) -> None:
        """Gives up the instance of a client that has left, after its successor is there."""
        try:
            self._try_refill()
        finally:
            calls.close(instance.handle)
        self._look_again()

    def _look_again(self) -> None:
        # Beginning to wait for a client clears the event (GetOverlappedResult, Remarks), and may
        # have hidden the arrival of another one from accept.
        calls.set_event(self._event, signalled=True)

    def released(self) -> None:
        """A stream that we accepted is about to close its handle."""
        self._open_count -= 1
        if not self._closed:
            self._try_refill()
            self._look_again()

    def released_elsewhere(self, handle: int) -> None:
        """The same, from a finalizer; closes the handle too, when the successor is there."""

        def release() -> None:
            try:
                self.released()
            finally:
                calls.close(handle)

        try:
            self._token.run_sync_soon(release)
        except trio.RunFinishedError:
            calls.close(handle)

    def _try_refill(self) -> None:
        """Makes the instances that are missing, or notes that the system has no room."""
        try:
            self._refill()
        except OSError as error:
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
            and len(self._waiting) + self._open_count < self._max_instances
        ):
            self._add_instance(first=False)

    def _add_instance(self, *, first: bool) -> None:
        code, handle = calls.create_instance(
            self._address,
            first=first,
            kind=self._kind,
            buffer_size=self._buffer_size,
            sddl=self._sddl,
        )
        if first and code in (calls.ERROR_ACCESS_DENIED, calls.ERROR_PIPE_BUSY):
            raise in_use_error(self._endpoint, self._address, None)
        if code != 0:
            raise calls.winerror(code)
        operation = calls.new_operation()
        code = calls.begin_connect(handle, operation, self._event)
        if code != 0:
            calls.close(handle)
            raise calls.winerror(code)
        self._waiting.append(_Instance(handle, operation))

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed here")

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for instance in self._waiting:
            calls.close_instance(instance.handle, instance.operation)
        self._waiting.clear()
        if self._accepting:
            calls.set_event(self._event, signalled=True)
        else:
            self._close_event()

    def _close_event(self) -> None:
        event, self._event = self._event, -1
        if event != -1:
            calls.close(event)

    async def aclose(self) -> None:
        self._close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            text = f"unclosed {self!r}"
            self._close()
            # Last: with warnings as errors it raises.
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<ipcpipes Listener {self.address!r}{state}>"


def listen(
    endpoint: Endpoint,
    *,
    kind: connections.Kind,
    max_instances: int | None,
    backlog: int,
    buffer_size: int | None,
    permissions: calls.Permissions,
) -> Listener[Any]:
    """Takes the name and listens; what it made is gone again when it fails."""
    address = calls.resolve(endpoint)
    try:
        return Listener(
            endpoint,
            address,
            kind=kind,
            max_instances=max_instances,
            backlog=backlog,
            buffer_size=buffer_size,
            permissions=permissions,
        )
    except EndpointError:
        raise
    except OSError as error:
        raise connect_error("winerror", error.winerror or -1, endpoint, address) from None
