"""A listener under trio that returns clients only once they have proved that they have a key."""

from __future__ import annotations

import logging
from collections import deque
from hmac import HMAC
from typing import Any, Generic, TypeVar

import trio

from .. import abc
from ..endpoint import Endpoint
from ..errors import AuthenticationFailed
from .challenge import DEFAULT_SECONDS, Handshake
from .handshake import Ends

__all__ = ["AuthenticatingListener"]

ConnectionT_co = TypeVar("ConnectionT_co", bound=trio.abc.AsyncResource, covariant=True)
logger = logging.getLogger("ipcpipes")

# For a client whose time is over already: what it has sent meanwhile is read in any case.
_A_LOOK = 0.1  # seconds


class _Candidate:
    """A client that was accepted below and has not proved itself yet."""

    def __init__(self, connection: Any, key: HMAC, endpoint: Endpoint) -> None:
        self.connection = connection
        self.ends = Ends(connection)
        self.handshake = Handshake("server", key, endpoint)
        self.until = trio.current_time() + DEFAULT_SECONDS


class AuthenticatingListener(abc.Listener[ConnectionT_co], Generic[ConnectionT_co]):
    """It owns the listener below, and the connections that it has not returned yet.

    All handshakes run side by side while a task is in :meth:`accept`, and pause otherwise: no task
    runs in the background that the user did not start.
    """

    def __init__(self, connections: abc.Listener[ConnectionT_co], key: HMAC) -> None:
        self._connections = connections
        self._key = key
        self._candidates: list[_Candidate] = []
        self._proved: deque[ConnectionT_co] = deque()
        self._accepting = False
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        return self._connections.endpoint

    @property
    def address(self) -> str:
        return self._connections.address

    @property
    def connection_count(self) -> int:
        return self._connections.connection_count

    async def accept(self) -> ConnectionT_co:
        if self._accepting:
            raise trio.BusyResourceError("another task is accepting")
        self._accepting = True
        try:
            if self._proved:
                await trio.lowlevel.checkpoint()
            while not self._proved or self._closed:
                await self._wait_for_one()
            return self._proved.popleft()
        finally:
            self._accepting = False

    async def _wait_for_one(self) -> None:
        refusal: Exception | None = None
        async with trio.open_nursery() as nursery:
            for candidate in self._candidates:
                nursery.start_soon(self._go_on, candidate, nursery.cancel_scope)
            try:
                while True:
                    connection = await self._connections.accept()
                    if self._closed:  # meanwhile
                        await trio.aclose_forcefully(connection)
                        continue
                    candidate = _Candidate(connection, self._key, self.endpoint)
                    self._candidates.append(candidate)
                    nursery.start_soon(self._go_on, candidate, nursery.cancel_scope)
            except Exception as error:
                refusal = error  # not as a group of one
                nursery.cancel_scope.cancel()
        if refusal is not None:
            raise refusal

    async def _go_on(self, candidate: _Candidate, enough: trio.CancelScope) -> None:
        """Runs until the client is authenticated or turned away, or ``enough`` was cancelled."""
        connection, handshake = candidate.connection, candidate.handshake
        try:
            with trio.move_on_after(max(candidate.until - trio.current_time(), _A_LOOK)):
                await candidate.ends.shake(handshake)
                if self._forget(candidate):
                    self._proved.append(connection)
                enough.cancel()
                return
            raise handshake.late(DEFAULT_SECONDS)
        except AuthenticationFailed as error:
            self._forget(candidate)
            logger.warning("%s: turned away %s: %s", self.endpoint, connection.peer, error)
            await candidate.ends.refuse(handshake)
        except trio.ClosedResourceError:
            return  # with this listener
        except Exception:
            self._forget(candidate)
            logger.exception("the handshake with a client of %s failed", self.endpoint)
        await trio.aclose_forcefully(connection)

    def _forget(self, candidate: _Candidate) -> bool:
        """Returns whether the client was still pending: closing this listener ends all of them."""
        if candidate not in self._candidates:
            return False
        self._candidates.remove(candidate)
        return True

    async def aclose(self) -> None:
        self._closed = True
        connections = [candidate.connection for candidate in self._candidates] + [*self._proved]
        self._candidates.clear()
        self._proved.clear()
        try:
            await self._connections.aclose()
        finally:
            for connection in connections:
                await trio.aclose_forcefully(connection)

    def __repr__(self) -> str:
        return f"<{self._connections!r} with authkey>"
