"""Runs a handler for each client of a listener, each in a thread of its own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hmac import HMAC
from typing import Any, cast

import trio

from ...connections.reporting import report
from ...endpoint import Endpoint, EndpointLike
from ...errors import consists_of
from .. import abc
from ..authentication.listener import AuthenticatingListener
from .threads import ClientThreads

__all__ = ["listener_for", "serve_listener"]

logger = logging.getLogger("ipcpipes")


class _Client:
    """A connection and its handler."""

    def __init__(
        self, handler: Callable[[Any], object], endpoint: Endpoint, connection: Any
    ) -> None:
        self._handler = handler
        self._endpoint = endpoint
        self._connection = connection
        self._is_ended = False

    def run(self) -> None:
        try:
            with self._connection:
                self._handler(self._connection)
        except Exception as error:
            if not (self._is_ended and consists_of(error, trio.ClosedResourceError)):
                report(error, self._connection, self._endpoint)

    def close(self) -> None:
        self._is_ended = True
        self._connection.close()


def listener_for(
    endpoint: EndpointLike | abc.Listener[Any],
    listen: Callable[..., abc.Listener[Any]],
    options: Mapping[str, Any],
    key: HMAC | None,
) -> abc.Listener[Any]:
    """Returns the listener that was given, or makes one.

    Args:
        key: made of ``authkey``, so that no variable holds the secret while the server runs.

    Raises:
        TypeError: a listener was given, and a key, or an option that is not the default of
            ``listen``.
        And what ``listen`` raises.
    """
    if not hasattr(endpoint, "accept"):
        listener = listen(endpoint, **options)
        return listener if key is None else AuthenticatingListener(listener, key)
    defaults = inspect.signature(listen).parameters
    given = [name for name, value in options.items() if value != defaults[name].default]
    if key is not None:
        given.append("authkey")
    if given:
        raise TypeError(
            f"a listener has its own {' and '.join(given)}: give them to {listen.__name__}()"
        )
    return cast("abc.Listener[Any]", endpoint)


def serve_listener(
    handler: Callable[[Any], object], listener: abc.Listener[Any], grace: float
) -> None:
    """Serves the clients of ``listener``. All functions that serve call this; see :func:`serve`."""
    make = partial(_Client, handler, listener.endpoint)
    ClientThreads(make, _shut_down, "ipcpipes handler", logger).run(listener, grace)


def _shut_down(clients: Sequence[_Client], until: float | None) -> None:
    """The handlers finish by themselves."""
