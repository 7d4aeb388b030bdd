"""The interceptors of a server under trio, and the types of those of both ends."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from ..core.current import current_call
from ..core.intercepting import ClientCall, ServerCall, chained
from ..definition.operations import Operation

__all__ = ["ClientInterceptor", "ServerInterceptor", "intercepted"]

ClientInterceptor: TypeAlias = Callable[
    [ClientCall, Callable[[ClientCall], Awaitable[Any]]], Awaitable[Any]
]
ServerInterceptor: TypeAlias = Callable[
    [ServerCall, Callable[[ServerCall], Awaitable[Any]]], Awaitable[Any]
]


def intercepted(
    method: Callable[..., Any], operation: Operation, interceptors: Sequence[Any]
) -> Callable[..., Any]:
    """Returns a method that passes each call through the interceptors to the manager's method."""

    async def innermost(call: ServerCall) -> Any:
        result = call._proceed(method)
        return await result if inspect.isawaitable(result) else result

    proceed = chained(interceptors, innermost)

    async def run(*arguments: Any) -> Any:
        return await proceed(ServerCall(operation, arguments, current_call()))

    return run
