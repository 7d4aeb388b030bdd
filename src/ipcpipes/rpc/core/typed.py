"""What may be given for a pipe, for type checkers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .client import ClientOperationBase

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Extendable",
    "ReadableFile",
    "WritableFile",
    "checked_client",
    "checked_operation",
]

ClientT = TypeVar("ClientT")
OperationT = TypeVar("OperationT")
T_contra = TypeVar("T_contra", contravariant=True)


class ReadableFile(Protocol):
    """A binary file that a pipe is filled from."""

    def read(self, size: int, /) -> Buffer | None: ...


class WritableFile(Protocol):
    """A binary file that a pipe is emptied into."""

    def write(self, data: Any, /) -> object: ...


class Extendable(Protocol[T_contra]):
    """A list, a deque, an array, a bytearray: elements are added at its end."""

    def extend(self, elements: Iterable[T_contra], /) -> object: ...


def checked_client(client: object, expected: type[ClientT]) -> ClientT:
    """Raises:
    TypeError: the object is not such a client.
    """
    if isinstance(client, expected):
        return client
    raise TypeError(f"{client!r} is not a client; give what connect() or bind() returned")


def checked_operation(operation: object, *expected: type[OperationT]) -> OperationT:
    """Raises:
    TypeError: the object is not such an operation.
    """
    if isinstance(operation, expected):
        return operation
    if isinstance(operation, ClientOperationBase):
        raise TypeError(f"{operation!r} is of the other driver; use operation_of() of that driver")
    raise TypeError(f"{operation!r} is not an operation; give an attribute of a client")
