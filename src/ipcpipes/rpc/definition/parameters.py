"""Pipe parameters: what they are in an operation's signature, and what a manager gets for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Protocol,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from ..errors import DefinitionError

if TYPE_CHECKING:
    from typing_extensions import Buffer, Self

__all__ = [
    "Chunk",
    "InOutPipe",
    "InPipe",
    "OutPipe",
    "PipeName",
    "Range",
    "is_alias",
    "unaliased",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

LONGEST_NAME = 29


class Chunk(Protocol[T_co]):
    """Elements that have come, in memory that nobody changes any more, and that cannot be written.

    It is a read-only :class:`memoryview` of the element's type, with a length, items, slices and
    whatever takes memory: ``file.write(chunk)``, ``numpy.asarray(chunk)``,
    ``array.array("i", chunk)``, none of which need copy. Structures come as a sequence of them,
    made when they are asked for, whose ``memory`` is what it lies in; ``numpy.asarray(chunk)`` is a
    structured array over it.

    A structure that cannot be made of what has come, because a number is no member of an
    enumeration, is a :class:`BadStubData` when it is asked for.
    """

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Chunk[T_co]: ...
    def __iter__(self) -> Iterator[T_co]: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...


if TYPE_CHECKING:
    Elements: TypeAlias = Buffer | Iterable[T]


class _Pipe:
    """What the parameter types have in common: nothing is derived from them."""

    def __init_subclass__(cls, *, implementation: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not implementation:
            raise DefinitionError(
                "only a parameter",
                f"class {cls.__name__}",
                "nothing is derived from a pipe type; annotate the parameter with "
                "Annotated[rpc.InPipe[...], rpc.PipeName(...)] to name it",
            )


class InPipe(_Pipe, Generic[T], implementation=True):
    """A pipe towards the server: ``numbers: rpc.InPipe[rpc.int32]``.

    The manager pulls; what has not been pulled yet holds back the client, and not the memory.
    """

    @abstractmethod
    async def pull(self, max_elements: int | None = None) -> Chunk[T]:
        """The next elements, as soon as there is one; and once, an empty chunk: the end.

        How the client cut them makes no difference to how they come. Cancelled, it loses nothing.

        Args:
            max_elements: 1 or more; ``None`` for as many as have come.

        Raises:
            rpc.PipeEmpty: the end was pulled before. The manager's mistake.
            rpc.WrongPipeOrder: another pipe comes first. The manager's mistake.
            rpc.PipeAppMemory: ``max_elements`` is 0 and there is data. The manager's mistake.
            rpc.InvalidBound, rpc.BadStubData: the client sent what the pipe's type does not allow.
            rpc.CallCancelled: the client has given the call up.
            rpc.CommFailure: the client has died, or closed its connection. It is not the end.
            rpc.InvalidAsyncHandle: the call is over.
        """

    @abstractmethod
    def __aiter__(self) -> Self:
        """``async for chunk in pipe`` pulls to the end."""

    @abstractmethod
    async def __anext__(self) -> Chunk[T]:
        """The next chunk."""


class OutPipe(_Pipe, Generic[T], implementation=True):
    """A pipe towards the client: ``lines: rpc.OutPipe[rpc.byte]``.

    The manager pushes, and closes it.
    """

    @abstractmethod
    async def push(self, elements: Elements[T]) -> None:
        """Sends elements; their memory is yours again when it returns.

        It waits while the client, or the connection, cannot take more. Cancelled, it may have
        sent a part of them.

        Args:
            elements: memory of the element's type (an array, a NumPy array, a chunk), bytes that
                are such memory, or any iterable of them. If there are no elements, nothing is sent
                and the pipe stays open: only :meth:`close` ends it. (In MIDL, a push of no elements
                ends the pipe, even if the data just happens to be empty.)

        Raises:
            rpc.PipeClosed: it is closed. The manager's mistake.
            rpc.WrongPipeOrder: another pipe comes first. The manager's mistake.
            rpc.InvalidBound: there are more, or fewer, than the pipe's ``Range`` allows.
            TypeError, ValueError, OverflowError: these are no such elements.
            And what :meth:`InPipe.pull` raises when the client is gone or the call is over.
        """

    @abstractmethod
    def push_nowait(self, elements: Elements[T]) -> None:
        """The same without waiting, for many small ones: they travel together.

        Args:
            elements: as for :meth:`push`, up to 4,096 bytes of them.

        Raises:
            trio.WouldBlock: the client, or the connection, cannot take more; nothing was sent.
            And what :meth:`push` raises.
        """

    @abstractmethod
    async def close(self) -> None:
        """Ends the pipe. A pipe that is not closed when the manager returns fails the call.

        Raises:
            What :meth:`push` raises.
        """


class InOutPipe(InPipe[T], OutPipe[T], implementation=True):
    """A pipe in both directions: the manager pulls it to its end first, and then pushes."""


@dataclass(frozen=True)
class Range:
    """Bounds how many elements a chunk of this pipe has: ``Annotated[..., rpc.Range(1, 512)]``.

    MIDL's ``[range(low, high)]`` on a pipe. Both ends check it.

    Attributes:
        low: 0 or more. The zero that ends the pipe is no chunk.
        high: at least 1, and at least ``low``.

    Raises:
        TypeError: one of them is no whole number.
        ValueError: they are out of these bounds.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if type(self.low) is not int or type(self.high) is not int:
            raise TypeError(f"a range is two whole numbers, not {self.low!r}, {self.high!r}")
        if not 0 <= self.low <= self.high <= 2**32 - 1 or self.high == 0:
            raise ValueError(
                f"a range goes from 0 or more to 1 or more, not {self.low}, {self.high}"
            )


@dataclass(frozen=True)
class PipeName:
    """Names a pipe type: ``LongPipe = Annotated[rpc.InPipe[rpc.int32],
    rpc.PipeName("LONG_PIPE")]``.

    Attributes:
        name: 1 to 29 characters, MIDL's limit.

    Raises:
        TypeError: it is no text. That it is too long is a DefinitionError of the interface.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a pipe's type is text, not {self.name!r}")


def unaliased(annotation: Any) -> Any:
    """What a ``type X = ...`` of Python 3.12 stands for, with what is noted beside it.

    Raises:
        Exception: a name in it means nothing.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *notes = get_args(annotation)
        inner = unaliased(base)
        return annotation if inner is base else Annotated[(inner, *notes)]
    if is_alias(annotation):
        return unaliased(annotation.__value__)
    if is_alias(origin):
        return unaliased(origin.__value__[get_args(annotation)])
    return annotation


def is_alias(annotation: object) -> bool:
    # Before Python 3.12 it is a class of typing_extensions, and that need not be there.
    return type(annotation).__name__ == "TypeAliasType" and hasattr(annotation, "__value__")
