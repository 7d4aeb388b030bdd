"""The interceptors of a server under trio."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..core.current import current_call
from ..core.intercepting import ServerCall, chained
from ..definition.operations import Operation

__all__ = ["intercepted"]


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
