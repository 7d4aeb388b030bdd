"""What every driver has in common when it connects and listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._os import Kind
from .endpoint import Endpoint, EndpointLike
from .errors import EndpointNotFound, EndpointRefused
from .options import (
    Impersonation,
    check_count,
    check_impersonation,
    check_listen,
    checked_seconds,
)
from .security import AccessPolicy, compiled, server_check

if TYPE_CHECKING:
    from typing_extensions import Self

# Seconds. Neither system tells when a name appears or a place becomes free in a way that can be
# waited for from one thread (WaitNamedPipeW blocks and cannot be cancelled).
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05
# How many attempts a second all waiting calls of this process make together. With more, the event
# loop would have no time for the server that they wait for, if it runs in the same process.
_LOOKS_PER_SECOND = 2000

_waiting: set[Attempts] = set()


class Attempts:
    """Attempts to connect, until there is a connection or the time is over.

    The caller measures the time and sleeps between the attempts. It does so within ``with``, so
    that the number of waiting calls is known.

    Attributes:
        wait: how many seconds there are in all.
        pause: how many seconds to sleep until the next attempt.
    """

    def __init__(
        self,
        connect: Callable[..., Any],
        endpoint: EndpointLike,
        *,
        kind: Kind,
        wait: float,
        buffer_size: int | None,
        server: AccessPolicy | None,
        impersonation: Impersonation,
    ) -> None:
        self._connect = connect
        self._endpoint = Endpoint.of(endpoint)
        self.wait = checked_seconds("wait", wait)
        check_count("buffer_size", buffer_size)
        check_impersonation(impersonation)
        self._options = {
            "kind": kind,
            "buffer_size": buffer_size,
            "trusts": server_check(self._endpoint, server),
            "impersonation": impersonation,
        }
        self.pause = 0.0
        self._next_pause = _FIRST_PAUSE

    def __enter__(self) -> Self:
        _waiting.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _waiting.discard(self)

    def attempt(self, remaining: float) -> Any:
        """The connection, or ``None`` when it may be tried again after :attr:`pause`.

        Raises:
            EndpointError: it failed, and not for want of time; or ``remaining`` seconds are none.
        """
        try:
            waited = self.wait if remaining <= 0 else 0.0
            return self._connect(self._endpoint, waited=waited, **self._options)
        except (EndpointNotFound, EndpointRefused):
            # What a process was started with does not come later.
            if remaining <= 0 or self._endpoint.kind == "inherited":
                raise
        self.pause = min(max(self._next_pause, len(_waiting) / _LOOKS_PER_SECOND), remaining)
        self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)
        return None


def listening(
    endpoint: EndpointLike,
    *,
    kind: Kind,
    access: AccessPolicy | None,
    max_instances: int | None,
    backlog: int,
    buffer_size: int | None,
) -> dict[str, Any]:
    """What the system's ``listen`` is called with.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range; or the policy
            denies access to the user that listens.
        UnknownAccount, NotSupported: what the policy says cannot be had here.
    """
    where = Endpoint.of(endpoint)
    policy = AccessPolicy.current_user() if access is None else access
    if not isinstance(policy, AccessPolicy):
        raise TypeError(f"access must be an AccessPolicy or None, not {access!r}")
    check_listen(max_instances=max_instances, backlog=backlog, buffer_size=buffer_size)
    return {
        "endpoint": where,
        "kind": kind,
        "max_instances": max_instances,
        "backlog": backlog,
        "buffer_size": buffer_size,
        "permissions": compiled(policy, kind),
    }
