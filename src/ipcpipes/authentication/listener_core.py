"""What the authenticating listeners of both drivers have in common."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from hmac import HMAC
from typing import Any

from ..errors import AuthenticationFailed
from ..opening import ListenerWrapper
from .challenge import Handshake

logger = logging.getLogger("ipcpipes")


@dataclass(eq=False)
class Candidate:
    """A client that was accepted below and has not authenticated itself yet.

    Attributes:
        transport: sends and receives the messages of its handshake.
        until: when its handshake fails, in the driver's own measure.
    """

    connection: Any
    transport: Any
    handshake: Handshake
    until: Any


class AuthenticatingListenerCore(ListenerWrapper):
    """Its clients wait in ``_candidates`` until they have authenticated themselves, and then in
    ``_authenticated`` until ``accept`` returns them. It owns both.
    """

    def __init__(self, below: Any, key: HMAC) -> None:
        super().__init__(below)
        self._key = key
        self._candidates: list[Candidate] = []
        self._authenticated: deque[Any] = deque()
        self._closed = False

    def _handshake(self) -> Handshake:
        return Handshake("server", self._key, self.endpoint)

    def __repr__(self) -> str:
        return f"<{self._below!r} with authkey>"


def log_refusal(endpoint: object, connection: Any, error: AuthenticationFailed) -> None:
    logger.warning("%s: turned away %s: %s", endpoint, connection.peer, error)
