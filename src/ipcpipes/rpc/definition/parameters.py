"""The types of pipe parameters, for the signatures of operations, and for the pipe ends that a
manager gets.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
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
    "PipeType",
    "Range",
    "is_alias",
    "unaliased",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

LONGEST_NAME = 29


class Chunk(Protocol[T_co]):
    """Received elements, in memory that is read-only and no longer changes.

    A chunk of scalars is a :class:`memoryview` of the element's type. It has a length, items and
    slices, and works wherever memory is accepted: ``file.write(chunk)``, ``numpy.asarray(chunk)``,
    ``array.array("i", chunk)``. The first two do not copy. A chunk of structures is a sequence that
    makes each structure when it is read. Its ``memory`` is the memory of the structures;
    ``numpy.asarray(chunk)`` is a structured array over that memory.

    Reading a structure raises :class:`BadStubData` if the received bytes do not make one, for
    example because a number is not a member of an enumeration.
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


class PipeType:
    """The base of the types of pipe parameters, which cannot be subclassed. Each driver has its own
    three, because their methods differ; an interface may use any of them.
    """

    _into: ClassVar[bool] = False
    _out: ClassVar[bool] = False

    def __init_subclass__(cls, *, implementation: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not implementation:
            raise DefinitionError(
                "only a parameter",
                f"class {cls.__name__}",
                "a pipe type has no subclasses; annotate the parameter with "
                "Annotated[rpc.InPipe[...], rpc.PipeName(...)] to name it",
            )


class InPipe(PipeType, Generic[T_co], implementation=True):
    """A pipe to the server: ``numbers: rpc.InPipe[rpc.int32]``.

    The manager pulls. If it does not pull, the client waits; the elements do not accumulate in the
    server's memory.
    """

    _into = True

    @abstractmethod
    async def pull(self, max_elements: int | None = None) -> Chunk[T_co]:
        """Waits for elements, and returns those that have arrived. At the end of the pipe, it
        returns an empty chunk once.

        The sizes of the chunks do not depend on how the client divided the data. A cancelled pull
        loses nothing.

        Args:
            max_elements: 1 or more; ``None`` for all that have arrived.

        Raises:
            rpc.PipeEmpty: the end was pulled before. The manager's mistake.
            rpc.WrongPipeOrder: another pipe comes first. The manager's mistake.
            rpc.PipeAppMemory: ``max_elements`` is 0 and there is data. The manager's mistake.
            rpc.InvalidBound, rpc.BadStubData: the client sent data that the pipe's type does not
                allow.
            rpc.CallCancelled: the client cancelled the call.
            rpc.CommFailure: the client died, or closed its connection. The data is incomplete.
            rpc.InvalidAsyncHandle: the call is over.
        """

    @abstractmethod
    def __aiter__(self) -> Self:
        """``async for chunk in pipe`` pulls until the end."""

    @abstractmethod
    async def __anext__(self) -> Chunk[T_co]:
        """Returns the next chunk."""


class OutPipe(PipeType, Generic[T_contra], implementation=True):
    """A pipe to the client: ``lines: rpc.OutPipe[rpc.byte]``.

    The manager pushes elements, and then closes the pipe.
    """

    _out = True

    @abstractmethod
    async def push(self, elements: Elements[T_contra]) -> None:
        """Sends elements. After it has returned, the memory of the elements can be reused.

        It waits while the client or the connection accepts no more. A cancelled push may have sent
        a part of the elements.

        Args:
            elements: memory of the element's type (an array, a NumPy array, a chunk), bytes that
                contain such memory, or any iterable of elements. If there are no elements, nothing
                is sent and the pipe stays open: only :meth:`close` ends it. (In MIDL, a push of no
                elements ends the pipe, even if the data just happens to be empty.)

        Raises:
            rpc.PipeClosed: the pipe is closed. The manager's mistake.
            rpc.WrongPipeOrder: another pipe comes first. The manager's mistake.
            rpc.InvalidBound: there are more or fewer elements than the pipe's ``Range`` allows.
            TypeError, ValueError, OverflowError: they are not elements of this type.
            rpc.CallCancelled: the client cancelled the call.
            rpc.CommFailure: the client died, or closed its connection.
            rpc.InvalidAsyncHandle: the call is over.
        """

    @abstractmethod
    def push_nowait(self, elements: Elements[T_contra]) -> None:
        """Sends elements without waiting. Many small pushes are sent together.

        Args:
            elements: as for :meth:`push`, up to 4,096 bytes.

        Raises:
            trio.WouldBlock: the client or the connection accepts no more; nothing was sent.
            rpc.RpcError, TypeError, ValueError, OverflowError: the errors of :meth:`push`.
        """

    @abstractmethod
    async def close(self) -> None:
        """Ends the pipe. If a pipe is not closed when the manager returns, the call fails.

        Raises:
            rpc.RpcError: the errors of :meth:`push`.
        """


class InOutPipe(InPipe[T], OutPipe[T], implementation=True):
    """A pipe in both directions: the manager pulls it to its end, and then pushes."""


@dataclass(frozen=True)
class Range:
    """Limits the number of elements in a chunk of a pipe: ``Annotated[..., rpc.Range(1, 512)]``.

    It corresponds to MIDL's ``[range(low, high)]`` on a pipe. Both ends check the number.

    Attributes:
        low: 0 or more. The count of 0 that ends the pipe is not a chunk.
        high: at least 1, and at least ``low``.

    Raises:
        TypeError: a limit is not an ``int``.
        ValueError: a limit is out of range.
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
        name: 1 to 29 characters, MIDL's limit. Another length raises a :class:`DefinitionError`
            when an interface uses the type.

    Raises:
        TypeError: the name is not a ``str``.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a pipe's type is text, not {self.name!r}")


def unaliased(annotation: Any) -> Any:
    """Returns the type behind a ``type X = ...`` of Python 3.12, with all metadata of
    ``Annotated``.

    Raises:
        Exception: a name in it is not defined.
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
    # Before Python 3.12, TypeAliasType is a class of typing_extensions, which need not be
    # installed.
    return type(annotation).__name__ == "TypeAliasType" and hasattr(annotation, "__value__")
