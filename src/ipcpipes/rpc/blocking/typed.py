"""Functions for programs that use a type checker, for which a client has the type of its interface.
They give a source or a sink the type of a pipe, and a client and its operations their own types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from ..core.typed import checked_client, checked_operation
from ..definition.interface import Interface
from .client import Client, ClientOperation
from .iterating import IteratedOperation

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ..core.feeding import PipeControl
    from ..core.typed import Extendable, ReadableFile, WritableFile
    from ..definition.parameters import Chunk, Elements
    from .pipes import InOutPipe, InPipe, OutPipe
    from .streams import InStream, OutStream

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
def feed(source: Iterable[Elements[T]]) -> InPipe[T]: ...
@overload
def feed(source: Iterable[T]) -> InPipe[T]: ...
@overload
def feed(source: Callable[[int], Elements[T]]) -> InPipe[T]: ...
def feed(source: Any) -> Any:
    """Gives a source the type of the pipe that it fills: ``acc.total(2, blocking.feed([1, 2]))``.

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
    """Gives a sink the type of the pipe that is emptied into it: ``found: list[int] = []``,
    ``splitter.squares(3, blocking.feed([1, 2]), blocking.drain(found))``.

    Only type checkers need this; a call takes the sink itself, too.

    Args:
        sink: what a call takes for a pipe to the client; see :class:`ClientOperation`.

    Returns:
        The sink, unchanged.
    """
    return sink


def exchange(source: InPipe[T], sink: OutPipe[T]) -> InOutPipe[T]:
    """Gives a source and a sink the type of a pipe in both directions:
    ``blocking.exchange(blocking.feed(b"..."), blocking.drain(file))``.

    Only type checkers need this; a call takes the tuple itself, too.

    Args:
        source: what :func:`feed` returned.
        sink: what :func:`drain` returned.

    Returns:
        The tuple of the two.
    """
    return cast("InOutPipe[T]", (source, sink))


def stream_from(source: Iterable[T]) -> InStream[T]:
    """Gives a source the type of the stream that it fills: ``log.append(blocking.stream_from(
    lines))``.

    Only type checkers need this; a call takes the source itself, too.

    Args:
        source: an iterable of values.

    Returns:
        The source, unchanged.
    """
    return cast("InStream[T]", source)


@overload
def stream_into(sink: Extendable[T]) -> OutStream[T]: ...
@overload
def stream_into(sink: Callable[[T], object]) -> OutStream[T]: ...
def stream_into(sink: Any) -> Any:
    """Gives a sink the type of the stream that is emptied into it: ``found: list[str] = []``,
    ``log.lines(blocking.stream_into(found))``.

    Only type checkers need this; a call takes the sink itself, too.

    Args:
        sink: a list, or a function that is called with each value.

    Returns:
        The sink, unchanged.
    """
    return sink


def client_of(client: InterfaceT) -> Client[InterfaceT]:
    """Returns a client as what it really is, which has more than the operations:
    ``blocking.client_of(acc).server_version``.

    Args:
        client: what ``with blocking.connect(...)`` or ``blocking.bind(...)`` returned.

    Returns:
        The same object.

    Raises:
        TypeError: it is not a client of this driver.
    """
    return checked_client(client, Client)


# An iterator is a result too; the first signature that fits counts.
@overload
def operation_of(  # type: ignore[overload-overlap]
    operation: Callable[P, Iterator[T]],
) -> IteratedOperation[P, T]: ...
@overload
def operation_of(operation: Callable[P, R]) -> ClientOperation[P, R]: ...
def operation_of(operation: Any) -> Any:
    """Returns an operation of a client as what it really is, which has more than a call:
    ``blocking.operation_of(acc.total).with_options(timeout=5)(2, numbers)``.

    Args:
        operation: an attribute of a client.

    Returns:
        The same object, with the parameters and the result of the operation for a type checker.

    Raises:
        TypeError: it is not an operation of a client of this driver.
    """
    return checked_operation(operation, ClientOperation, IteratedOperation)
