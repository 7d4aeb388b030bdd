"""The part of connecting and listening that is the same in all drivers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypedDict

from ._os import Kind, WrapperNumber
from .endpoint import Endpoint, EndpointLike
from .errors import EndpointNotFound, EndpointRefused
from .options import (
    IMPERSONATIONS,
    LARGEST_BACKLOG,
    Impersonation,
    check_choice,
    check_count,
    checked_seconds,
)
from .security import AccessPolicy, compile_policy, server_check

if TYPE_CHECKING:
    from .framing import Buffer

# Seconds. Neither system reports a new name or free room in a way that one thread can wait for
# together with other events (WaitNamedPipeW blocks and cannot be cancelled).
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05
# How many attempts a second all waiting calls of this process make together. With more, the event
# loop would have no time for the server that they wait for, if it runs in the same process.
_ATTEMPTS_PER_SECOND = 2000

_waiting: set[object] = set()


# The keyword arguments of the public functions, for type checkers: each overload takes them as
# ``**options: Unpack[...]``. The implementations name them, so that help() shows the defaults.


class ConnectOptions(TypedDict, total=False):
    """What ``connect`` takes in every direction."""

    wait: float
    buffer_size: int | None
    server: AccessPolicy | None
    impersonation: Impersonation
    authkey: Buffer | None


class ConnectMessagesOptions(ConnectOptions, total=False):
    """What ``connect_messages`` takes with every framing."""

    max_descriptors: int


class ListenOptions(TypedDict, total=False):
    """What ``listen`` takes in every direction."""

    access: AccessPolicy | None
    max_instances: int | None
    backlog: int
    buffer_size: int | None
    authkey: Buffer | None


class ListenMessagesOptions(ListenOptions, total=False):
    """What ``listen_messages`` takes with every framing."""

    max_descriptors: int


class ServeOptions(ListenOptions, total=False):
    """What both functions called ``serve`` take in every direction."""

    grace: float


class ServeMessagesOptions(ListenMessagesOptions, total=False):
    """What both functions called ``serve_messages`` take with every framing."""

    grace: float


class ConnectRequest:
    """The arguments of one ``connect``. The constructor checks them.

    Attributes:
        wait: for how many seconds to repeat attempts.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.
        UnknownAccount, NotSupported: this system cannot check ``server``.
    """

    __slots__ = ("_endpoint", "_options", "wait")

    def __init__(
        self,
        endpoint: EndpointLike,
        kind: Kind,
        wait: float,
        buffer_size: int | None,
        server: AccessPolicy | None,
        impersonation: Impersonation,
    ) -> None:
        self._endpoint = Endpoint.of(endpoint)
        self.wait = checked_seconds("wait", wait)
        check_count("buffer_size", buffer_size)
        check_choice("impersonation", impersonation, IMPERSONATIONS)
        self._options = {
            "kind": kind,
            "buffer_size": buffer_size,
            "trusts": server_check(self._endpoint, server),
            "impersonation": impersonation,
        }

    def attempt(self, connect: Callable[..., Any], remaining: float) -> Any:
        """Makes one attempt. Returns the connection, or ``None`` if another attempt may succeed.

        Args:
            connect: the ``connect`` function of the system and the driver.
            remaining: how many seconds there are for further attempts.

        Raises:
            EndpointError: it failed, and another attempt would be useless or too late.
        """
        waited = self.wait if remaining <= 0 else 0.0
        try:
            return connect(self._endpoint, waited=waited, **self._options)
        except (EndpointNotFound, EndpointRefused):
            # A number that is not there now does not appear later.
            if remaining <= 0 or self._endpoint._is_number:
                raise
            return None


def pauses() -> Generator[float, None, None]:
    """Yields how many seconds to sleep after each attempt to connect. A caller counts as waiting
    until it closes the generator.
    """
    this = object()
    try:
        _waiting.add(this)
        pause = _FIRST_PAUSE
        while True:
            yield max(pause, len(_waiting) / _ATTEMPTS_PER_SECOND)
            pause = min(2 * pause, _LONGEST_PAUSE)
    finally:
        _waiting.discard(this)


class ListenerWrapper(WrapperNumber):
    """The base, in every driver, of a listener that wraps another listener.

    Lifetime: it owns the listener below, and closes it.
    """

    def __init__(self, below: Any) -> None:
        self._below = below

    @property
    def endpoint(self) -> Endpoint:
        endpoint: Endpoint = self._below.endpoint
        return endpoint

    @property
    def address(self) -> str:
        address: str = self._below.address
        return address

    @property
    def connection_count(self) -> int:
        count: int = self._below.connection_count
        return count


def listen_arguments(
    endpoint: EndpointLike,
    kind: Kind,
    access: AccessPolicy | None,
    max_instances: int | None,
    backlog: int,
    buffer_size: int | None,
) -> dict[str, Any]:
    """Checks the arguments, and returns those for the system's ``listen``.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range; or the policy
            denies access to the user that listens.
        UnknownAccount, NotSupported: this system cannot express the policy.
    """
    where = Endpoint.of(endpoint)
    policy = AccessPolicy.current_user() if access is None else access
    if not isinstance(policy, AccessPolicy):
        raise TypeError(f"access must be an AccessPolicy or None, not {access!r}")
    check_count("max_instances", max_instances)
    check_count("backlog", backlog, limit=LARGEST_BACKLOG, optional=False)
    check_count("buffer_size", buffer_size)
    return {
        "endpoint": where,
        "kind": kind,
        "max_instances": max_instances,
        "backlog": backlog,
        "buffer_size": buffer_size,
        "permissions": compile_policy(policy, kind),
    }
