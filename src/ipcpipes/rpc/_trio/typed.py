"""Functions for programs that use a type checker, for which a client has the type of its interface.
They give a source or a sink the type of a pipe, and a client and its operations their own types.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from ..core.typed import checked_client, checked_operation
from ..definition.interface import Interface
from .client import Client, ClientOperation
from .iterating import IteratedOperation

if TYPE_CHECKING:
    import trio
    from typing_extensions import Buffer

    from ..core.feeding import PipeControl
    from ..core.typed import Extendable, ReadableFile, WritableFile
    from ..definition.parameters import Chunk, Elements, InOutPipe, InPipe, OutPipe
    from .stream_types import InStream, OutStream

__all__ = [
    "client_of",
    "drain",
    "exchange",
    "feed",
    "operation_of",
    "stream_from",
    "stream_into",
]

InterfaceT = TypeVar("InterfaceT", bound=Interface)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@overload
def feed(source: Buffer | ReadableFile | PipeControl) -> InPipe[Any]: ...
@overload
def feed(source: Iterable[Elements[T]] | AsyncIterable[Elements[T]]) -> InPipe[T]: ...
@overload
def feed(source: Iterable[T] | AsyncIterable[T]) -> InPipe[T]: ...
@overload
def feed(source: Callable[[int], Elements[T] | Awaitable[Elements[T]]]) -> InPipe[T]: ...
def feed(source: Any) -> Any:
    """Gives a source the type of the pipe that it fills: ``await acc.total(2, rpc.feed([1, 2]))``.

    Only type checkers need this; a call takes the source itself, too.

    Args:
        source: what a call takes for a pipe to the server; see :class:`ClientOperation`.

    Returns:
        The source, unchanged.
    """
    return source


@overload
def drain(sink: bytearray | WritableFile | PipeControl) -> OutPipe[Any]: ...
@overload
def drain(sink: Extendable[T]) -> OutPipe[T]: ...
@overload
def drain(sink: Callable[[Chunk[T]], object]) -> OutPipe[T]: ...
def drain(sink: Any) -> Any:
    """Gives a sink the type of the pipe that is emptied into it: ``found: list[int] = []``, ``await
    splitter.squares(3, rpc.feed([1, 2]), rpc.drain(found))``.

    Only type checkers need this; a call takes the sink itself, too.

    Args:
        sink: what a call takes for a pipe to the client; see :class:`ClientOperation`.

    Returns:
        The sink, unchanged.
    """
    return sink


def exchange(source: InPipe[T], sink: OutPipe[T]) -> InOutPipe[T]:
    """Gives a source and a sink the type of a pipe in both directions:
    ``rpc.exchange(rpc.feed(b"..."), rpc.drain(file))``.

    Only type checkers need this; a call takes the tuple itself, too.

    Args:
        source: what :func:`feed` returned.
        sink: what :func:`drain` returned.

    Returns:
        The tuple of the two.
    """
    return cast("InOutPipe[T]", (source, sink))


def stream_from(source: Iterable[T] | AsyncIterable[T]) -> InStream[T]:
    """Gives a source the type of the stream that it fills: ``await log.append(rpc.stream_from(
    lines))``.

    Only type checkers need this; a call takes the source itself, too.

    Args:
        source: an iterable or an async iterable of values, such as a trio channel.

    Returns:
        The source, unchanged.
    """
    return cast("InStream[T]", source)


@overload
def stream_into(sink: Extendable[T] | trio.abc.SendChannel[T]) -> OutStream[T]: ...
@overload
def stream_into(sink: Callable[[T], object]) -> OutStream[T]: ...
def stream_into(sink: Any) -> Any:
    """Gives a sink the type of the stream that is emptied into it: ``found: list[str] = []``,
    ``await log.lines(rpc.stream_into(found))``.

    Only type checkers need this; a call takes the sink itself, too.

    Args:
        sink: a list, a function that is called with each value, or a trio channel. The function
            may be async.

    Returns:
        The sink, unchanged.
    """
    return sink


def client_of(client: InterfaceT) -> Client[InterfaceT]:
    """Returns a client as what it really is, which has more than the operations:
    ``rpc.client_of(acc).server_version``.

    Args:
        client: what ``async with rpc.connect(...)`` or ``rpc.bind(...)`` returned.

    Returns:
        The same object.

    Raises:
        TypeError: it is not a client of this driver.
    """
    return checked_client(client, Client)


@overload
def operation_of(operation: Callable[P, AsyncIterator[T]]) -> IteratedOperation[P, T]: ...
@overload
def operation_of(operation: Callable[P, Awaitable[R]]) -> ClientOperation[P, R]: ...
def operation_of(operation: Any) -> Any:
    """Returns an operation of a client as what it really is, which has more than a call:
    ``await rpc.operation_of(acc.total).with_options(timeout=5)(2, numbers)``.

    Args:
        operation: an attribute of a client.

    Returns:
        The same object, with the parameters and the result of the operation for a type checker.

    Raises:
        TypeError: it is not an operation of a client of this driver.
    """
    return checked_operation(operation, ClientOperation, IteratedOperation)
