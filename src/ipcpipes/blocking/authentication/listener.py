"""A listener without an event loop that returns clients only once they have proved that they have a
key.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from hmac import HMAC
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from ..._os.common.deadline import Deadline, is_of_deadline
from ...abc.uncopied import Uncopied
from ...authentication.challenge import DEFAULT_SECONDS, Handshake
from ...endpoint import Endpoint
from ...errors import AuthenticationFailed
from .. import abc
from .handshake import Ends

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AuthenticatingListener"]

ConnectionT_co = TypeVar("ConnectionT_co", covariant=True)
logger = logging.getLogger("ipcpipes")

# While handshakes run, the wait for the next client is divided into pieces, and between two pieces
# each handshake is continued. (A thread for each would be one that the user did not start.)
_SHORTEST, _LONGEST = 0.0005, 0.02  # seconds


class _Candidate:
    """A client that was accepted below and has not proved itself yet."""

    def __init__(self, connection: Any, key: HMAC, endpoint: Endpoint) -> None:
        self.connection = connection
        self.ends = Ends(connection)
        self.handshake = Handshake("server", key, endpoint)
        self.until = Deadline(DEFAULT_SECONDS)


class AuthenticatingListener(Uncopied, abc.Listener[ConnectionT_co], Generic[ConnectionT_co]):
    """It owns the listener below, and the connections that it has not returned yet.

    All handshakes run side by side while a thread is in :meth:`accept`, and pause otherwise.
    """

    def __init__(self, connections: abc.Listener[ConnectionT_co], key: HMAC) -> None:
        self._connections = connections
        self._key = key
        self._candidates: list[_Candidate] = []
        self._proved: deque[ConnectionT_co] = deque()
        self._may_accept: dict[str, None] = {"turn": None}
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

    def accept(self, *, timeout: float | None = None) -> ConnectionT_co:
        deadline = Deadline.after(timeout)
        try:
            del self._may_accept["turn"]
        except KeyError:
            raise trio.BusyResourceError("another thread is accepting") from None
        try:
            return self._accept(deadline)
        finally:
            self._may_accept["turn"] = None
            if self._closed:
                self._close_all()

    def _accept(self, deadline: Deadline | None) -> ConnectionT_co:
        pause = _SHORTEST
        while True:
            self._go_on()
            if self._proved and not self._closed:
                return self._proved.popleft()
            seconds = None if deadline is None else deadline.remaining
            is_last = seconds == 0
            if self._candidates:
                seconds = pause if seconds is None else min(seconds, pause)
                pause = min(2 * pause, _LONGEST)
            try:
                connection: Any = self._connections.accept(timeout=seconds)
            except TimeoutError as error:
                if is_last or not is_of_deadline(error):
                    raise
                continue
            self._candidates.append(_Candidate(connection, self._key, self.endpoint))
            pause = _SHORTEST

    def _go_on(self) -> None:
        """Continues each handshake as far as it can go without waiting."""
        for candidate in list(self._candidates):
            connection, handshake = candidate.connection, candidate.handshake
            try:
                # Checked first, so that what has arrived by then is still read.
                is_late = not candidate.until.remaining
                try:
                    candidate.ends.shake(handshake, Deadline(0))
                except TimeoutError as error:
                    if not is_of_deadline(error):
                        raise
                    if not is_late:
                        continue
                    raise handshake.late(DEFAULT_SECONDS) from None
                self._proved.append(connection)
                self._candidates.remove(candidate)
                continue
            except AuthenticationFailed as error:
                logger.warning("%s: turned away %s: %s", self.endpoint, connection.peer, error)
                candidate.ends.refuse(handshake)
            except trio.ClosedResourceError:
                pass  # with this listener
            self._candidates.remove(candidate)
            connection.close()

    def close(self) -> None:
        self._closed = True
        self._connections.close()
        # A thread that is accepting does it itself, or finds the listener closed.
        with suppress(KeyError):
            del self._may_accept["turn"]
            try:
                self._close_all()
            finally:
                self._may_accept["turn"] = None

    def _close_all(self) -> None:
        while self._candidates:
            self._candidates.pop().connection.close()
        while self._proved:
            connection: Any = self._proved.popleft()
            connection.close()

    def __iter__(self) -> Iterator[ConnectionT_co]:
        return self

    def __next__(self) -> ConnectionT_co:
        try:
            return self.accept()
        except trio.ClosedResourceError:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self._connections!r} with authkey>"
