"""The part of authentication that is the same in both drivers."""

from __future__ import annotations

import logging
from collections import deque
from hmac import HMAC
from typing import Any

from ..errors import AuthenticationFailed, NotSupported
from ..framing import Buffer
from ..opening import ListenerWrapper
from ..options import Direction
from .challenge import check_both_ways, derive_key

logger = logging.getLogger("ipcpipes")


def key_of(authkey: Buffer | None, direction: Direction = "duplex") -> HMAC | None:
    """Returns the key that both ends of a handshake compute with; ``None`` without an ``authkey``.

    Raises:
        TypeError, ValueError: ``authkey`` is not bytes-like, or shorter than 16 bytes; or the
            connections go only one way.
    """
    check_both_ways(authkey, direction)
    return None if authkey is None else derive_key(authkey)


class AuthenticatingListenerCore(ListenerWrapper):
    """The state of a listener that returns only clients that have authenticated themselves. This
    object owns the connections in its attributes.

    Attributes:
        _candidates: the handshakes of the clients that the listener below has accepted, each with
            its deadline, as the driver measures time.
        _authenticated: the connections that ``accept`` has not returned yet.
    """

    def __init__(self, below: Any, key: HMAC) -> None:
        super().__init__(below)
        self._key = key
        self._candidates: dict[Any, Any] = {}
        self._authenticated: deque[Any] = deque()
        self._closed = False

    def _is_ready(self) -> bool:
        """Whether a client waits is known after its handshake.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(
            f"{self!r} cannot be waited for together with other objects: the handshakes of its "
            "clients run only in accept(); call accept() in a task or thread of its own"
        )

    def __repr__(self) -> str:
        return f"<{self._below!r} with authkey>"


def log_refusal(endpoint: object, connection: Any, error: AuthenticationFailed) -> None:
    logger.warning("%s: turned away %s: %s", endpoint, connection.peer, error)
