"""A listener without an event loop that returns only those clients that have authenticated
themselves.
"""

from __future__ import annotations

from contextlib import suppress
from hmac import HMAC
from typing import Any

import trio

from ..._os.common.deadline import Deadline, is_of_deadline
from ...authentication.challenge import DEFAULT_SECONDS
from ...authentication.core import AuthenticatingListenerCore, log_refusal
from ...errors import AuthenticationFailed
from .. import abc
from ..wrapping import WrappingListener
from .handshake import HandshakeTransport

__all__ = ["AuthenticatingListener"]

# While handshakes run, the wait for the next client is divided into slices, and each handshake is
# continued between two slices. (A thread for each handshake was rejected, because the user did not
# start it.)
_SHORTEST_SLICE, _LONGEST_SLICE = 0.0005, 0.02  # seconds


class AuthenticatingListener(AuthenticatingListenerCore, WrappingListener):
    """All handshakes run concurrently while a thread is in :meth:`accept`, and pause otherwise."""

    def __init__(self, below: abc.Listener[Any], key: HMAC) -> None:
        super().__init__(below, key)
        self._may_accept: dict[str, None] = {"turn": None}

    def accept(self, *, timeout: float | None = None) -> Any:
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
                self._close_clients()

    def _accept(self, deadline: Deadline | None) -> Any:
        length = _SHORTEST_SLICE
        while True:
            self._continue_handshakes()
            if self._authenticated and not self._closed:
                return self._authenticated.popleft()
            seconds = None if deadline is None else deadline.remaining
            is_last = seconds == 0
            if self._candidates:
                seconds = length if seconds is None else min(seconds, length)
                length = min(2 * length, _LONGEST_SLICE)
            try:
                connection = self._below.accept(timeout=seconds)
            except TimeoutError as error:
                if not is_of_deadline(error):
                    raise
                if is_last and deadline is not None:
                    # The wait below was only the rest of this one.
                    raise deadline.error("no client authenticated itself") from None
                continue
            candidate = HandshakeTransport("server", self._key, connection)
            self._candidates[candidate] = Deadline(DEFAULT_SECONDS)
            length = _SHORTEST_SLICE

    def _continue_handshakes(self) -> None:
        """Continues each handshake as far as possible without waiting."""
        for candidate, until in list(self._candidates.items()):
            try:
                # The deadline is checked first, so that data that has arrived by then is still
                # read.
                is_late = not until.remaining
                try:
                    candidate.run(Deadline(0))
                except TimeoutError as error:
                    if not is_of_deadline(error):
                        raise
                    if not is_late:
                        continue
                    raise candidate.handshake.timed_out(DEFAULT_SECONDS) from None
                # A signal handler may have raised between these steps before.
                if candidate.connection not in self._authenticated:
                    self._authenticated.append(candidate.connection)
                del self._candidates[candidate]
                continue
            except AuthenticationFailed as error:
                log_refusal(self.endpoint, candidate.connection, error)
                candidate.send_refusal()
            except trio.ClosedResourceError:
                pass  # close() has closed it
            del self._candidates[candidate]
            candidate.connection.close()

    def close(self) -> None:
        self._closed = True
        super().close()
        # A thread that is accepting closes the clients itself.
        with suppress(KeyError):
            del self._may_accept["turn"]
            try:
                self._close_clients()
            finally:
                self._may_accept["turn"] = None

    def _close_clients(self) -> None:
        while self._candidates:
            self._candidates.popitem()[0].connection.close()
        while self._authenticated:
            connection: Any = self._authenticated.popleft()
            connection.close()
