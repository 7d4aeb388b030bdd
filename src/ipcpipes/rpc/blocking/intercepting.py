"""The interceptors of a server without an event loop, and the types of those of both ends."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..core.current import current_call
from ..core.intercepting import ClientCall, ServerCall, chained
from ..definition.operations import Operation

__all__ = ["ClientInterceptor", "ServerInterceptor", "check_no_coroutines", "intercepted"]

ClientInterceptor: TypeAlias = Callable[[ClientCall, Callable[[ClientCall], Any]], Any]
ServerInterceptor: TypeAlias = Callable[[ServerCall, Callable[[ServerCall], Any]], Any]


def check_no_coroutines(interceptors: Sequence[Any]) -> None:
    """Raises:
    TypeError: an interceptor needs an event loop.
    """
    for one in interceptors:
        if inspect.iscoroutinefunction(one):
            raise TypeError(f"the interceptor {one!r} is async, and there is no event loop")


def intercepted(
    method: Callable[..., Any], operation: Operation, interceptors: Sequence[Any]
) -> Callable[..., Any]:
    """Returns a method that passes each call through the interceptors to the manager's method.

    Raises:
        TypeError: an interceptor needs an event loop.
    """
    check_no_coroutines(interceptors)

    def innermost(call: ServerCall) -> Any:
        return call._proceed(method)

    proceed = chained(interceptors, innermost)

    def run(*arguments: Any) -> Any:
        return proceed(ServerCall(operation, arguments, current_call()))

    return run
