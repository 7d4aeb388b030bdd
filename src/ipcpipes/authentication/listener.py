"""A listener for trio that returns only clients that have authenticated themselves."""

from __future__ import annotations

from hmac import HMAC
from typing import Any

import trio

from .. import abc
from ..errors import AuthenticationFailed
from .challenge import DEFAULT_SECONDS
from .core import AuthenticatingListenerCore, log_refusal, logger
from .handshake import HandshakeTransport

__all__ = ["AuthenticatingListener"]

# If a client's deadline has passed while accept() was not running, the client still gets this many
# seconds, so that data that it has already sent is read.
_LEAST_SECONDS = 0.1


class AuthenticatingListener(AuthenticatingListenerCore, abc.Listener[Any]):
    """All handshakes run concurrently while a task is in :meth:`accept`, and pause otherwise,
    because ipcpipes starts no background tasks.
    """

    def __init__(self, below: abc.Listener[Any], key: HMAC) -> None:
        super().__init__(below, key)
        self._accepting = False

    async def accept(self) -> Any:
        if self._accepting:
            raise trio.BusyResourceError("another task is accepting")
        self._accepting = True
        try:
            if self._authenticated:
                await trio.lowlevel.checkpoint()
            while not self._authenticated or self._closed:
                await self._wait_for_client()
            return self._authenticated.popleft()
        finally:
            self._accepting = False

    async def _wait_for_client(self) -> None:
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            for candidate, until in self._candidates.items():
                nursery.start_soon(self._authenticate, candidate, until, nursery.cancel_scope)
            try:
                while True:
                    connection = await self._below.accept()
                    if self._closed:  # closed while accept() was returning
                        await trio.aclose_forcefully(connection)
                        continue
                    candidate = HandshakeTransport("server", self._key, connection)
                    until = self._candidates[candidate] = trio.current_time() + DEFAULT_SECONDS
                    nursery.start_soon(self._authenticate, candidate, until, nursery.cancel_scope)
            except Exception as error:
                failure = error  # raised outside the nursery, so that it is not in a group
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _authenticate(
        self, candidate: HandshakeTransport, until: float, accepting: trio.CancelScope
    ) -> None:
        """Runs the handshake until the client is authenticated or turned away, or ``accepting`` is
        cancelled, which happens when any client is authenticated.
        """
        connection = candidate.connection
        try:
            with trio.move_on_after(max(until - trio.current_time(), _LEAST_SECONDS)):
                await candidate.run()
                # The client is not there any more if aclose() has closed the connection meanwhile.
                if self._candidates.pop(candidate, None) is not None:
                    self._authenticated.append(connection)
                accepting.cancel()
                return
            raise candidate.handshake.timed_out(DEFAULT_SECONDS)
        except AuthenticationFailed as error:
            self._candidates.pop(candidate, None)
            log_refusal(self.endpoint, connection, error)
            await candidate.send_refusal()
        except trio.ClosedResourceError:
            return  # aclose() has closed it
        except Exception:
            self._candidates.pop(candidate, None)
            logger.exception("the handshake with a client of %s failed", self.endpoint)
        await trio.aclose_forcefully(connection)

    async def aclose(self) -> None:
        self._closed = True
        connections = [*(each.connection for each in self._candidates), *self._authenticated]
        self._candidates.clear()
        self._authenticated.clear()
        try:
            await self._below.aclose()
        finally:
            for connection in connections:
                await trio.aclose_forcefully(connection)
