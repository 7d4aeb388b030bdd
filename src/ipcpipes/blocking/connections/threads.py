"""A thread for each client of a listener: the clients begin and end here, for all functions that
serve without an event loop.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import trio

from .. import abc

__all__ = ["ClientThreads", "ServedClient"]


class ServedClient(Protocol):
    """A connection, and what is done with it."""

    def run(self) -> None:
        """Serves the client until its end, and closes the connection."""

    def close(self) -> None:
        """Ends the connection at once, from any thread."""


ClientT = TypeVar("ClientT", bound=ServedClient)


class ClientThreads(Generic[ClientT]):
    """Serves the clients of one listener.

    Args:
        make: makes a client from what the listener has accepted.
        shut_down: called with the clients when no more are accepted, and the time until which they
            may finish (``time.monotonic()``); ``None`` for no limit.
        name: of the threads.
        logger: where to log clients that could not be served.
    """

    def __init__(
        self,
        make: Callable[[Any], ClientT],
        shut_down: Callable[[Sequence[ClientT], float | None], object],
        name: str,
        logger: logging.Logger,
    ) -> None:
        self._make = make
        self._shut_down = shut_down
        self._name = name
        self._logger = logger
        self._lock = threading.Lock()
        self._clients: dict[ClientT, threading.Thread] = {}
        self._begun: set[ClientT] = set()  # their threads run
        self._error: BaseException | None = None

    def run(self, listener: abc.Listener[Any], grace: float) -> None:
        """Serves until the listener is closed, and then waits for the threads. After ``grace``
        seconds the connections that are left are closed.

        Raises:
            BaseException: a client has ended with an exception that is not an ``Exception``.
        """
        try:
            with suppress(trio.ClosedResourceError):
                while True:
                    self._start(listener, listener.accept())
            listener.close()  # ends the handshakes if only the listener below was closed
            # All connections share one deadline, so that the times of many slow clients do not add
            # up.
            until = None if grace == math.inf else time.monotonic() + grace
            self._shut_down(self._all(), until)
            if not self._join(until):
                self._logger.warning(
                    "%s: ended the clients that had not finished %g s after the listener was "
                    "closed",
                    listener.endpoint,
                    grace,
                )
        finally:
            listener.close()
            for client in self._all():
                client.close()
            self._join()
        if self._error is not None:
            raise self._error

    def _start(self, listener: abc.Listener[Any], connection: Any) -> None:
        client: ClientT | None = None
        thread: threading.Thread | None = None
        try:
            client = self._make(connection)
            thread = threading.Thread(target=self._serve, args=(listener, client), name=self._name)
            with self._lock:
                self._clients[client] = thread
            thread.start()
        except BaseException as error:
            # A signal handler may have raised after the thread had begun.
            if client is None or self._forget(client, begun=False):
                connection.close()
            if not isinstance(error, RuntimeError) or thread is None or thread.ident is not None:
                raise
            # The system has no more threads; the client finds its connection closed.
            self._logger.warning("a client was turned away: %s", error)

    def _serve(self, listener: abc.Listener[Any], client: ClientT) -> None:
        with self._lock:
            if client not in self._clients:
                return
            self._begun.add(client)
        try:
            client.run()
        except Exception:
            self._logger.exception("serving a client failed")
        except BaseException as error:
            self._error = error
            listener.close()
        finally:
            self._forget(client, begun=True)

    def _forget(self, client: ClientT, *, begun: bool) -> bool:
        """Removes a client that has ended, or whose thread has never begun to serve it."""
        with self._lock:
            if (client in self._begun) is not begun:
                return False
            self._begun.discard(client)
            self._clients.pop(client, None)
            return True

    def _all(self) -> list[ClientT]:
        with self._lock:
            return list(self._clients)

    def _join(self, until: float | None = None) -> bool:
        """Waits for the threads of all clients. Returns whether they ended in time."""
        while True:
            with self._lock:
                threads = list(self._clients.values())
            if not threads:
                return True
            for thread in threads:
                thread.join(None if until is None else max(until - time.monotonic(), 0))
                if thread.is_alive():
                    return False
