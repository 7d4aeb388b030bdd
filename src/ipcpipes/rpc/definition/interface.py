"""Interfaces: a class says what can be called, and what is wrong with it is said at once."""

from __future__ import annotations

import abc
import inspect
import sys
import uuid as uuids
from collections.abc import Callable, Mapping
from types import FrameType, MappingProxyType
from typing import Any, ClassVar, TypeVar, overload

from ..errors import DefinitionError
from .operations import Definition, Operation, Options, define, follows

__all__ = ["Interface", "operation"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_MARK = "__ipcpipes_operation__"


@overload
def operation(function: FunctionT, /) -> FunctionT: ...
@overload
def operation(
    *, idempotent: bool = ..., maybe: bool = ..., timeout: float | None = ...
) -> Callable[[FunctionT], FunctionT]: ...
def operation(
    function: FunctionT | None = None,
    /,
    *,
    idempotent: bool = False,
    maybe: bool = False,
    timeout: float | None = None,
) -> FunctionT | Callable[[FunctionT], FunctionT]:
    """Marks a method of an :class:`Interface` as one that clients can call.

    Its body is never run: ``...``, or ``raise NotImplementedError`` where a type checker wants it.
    Parameters and results are whatever :mod:`msgspec` can type; pipes are parameters of
    :class:`InPipe`, :class:`OutPipe` and :class:`InOutPipe`.

    Args:
        idempotent: running it twice is as good as once. No pipes.
        maybe: nobody waits for an answer, and nobody hears of a failure. No pipes, no result.
        timeout: seconds after which a call has failed, unless the client says less; ``None`` for
            no limit.

    Raises:
        DefinitionError: when the class is made, if it breaks a rule.
    """
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
    options = Options(idempotent=idempotent, maybe=maybe, timeout=timeout)

    def mark(marked: FunctionT) -> FunctionT:
        if not callable(marked) or isinstance(marked, staticmethod):
            raise TypeError(f"@rpc.operation stands over a method, not {marked!r}")
        setattr(marked, _MARK, options)
        return abc.abstractmethod(marked)

    return mark if function is None else mark(function)


class Interface(abc.ABC):
    """The base of interfaces, and so of the managers that implement them.

    >>> class Accumulator(rpc.Interface, uuid="5b4b1e6c-…", version=(1, 0)):
    ...     @rpc.operation
    ...     async def total(self, scale: int, numbers: rpc.InPipe[rpc.int32]) -> int: ...
    >>> class AccumulatorManager(Accumulator):
    ...     async def total(self, scale, numbers):
    ...         return scale * sum([sum(chunk) async for chunk in numbers])

    The class that is given a ``uuid`` is the interface; what is derived from it is a manager, which
    implements each operation, with the same parameters.

    Args:
        uuid: what the interface is known by, for ever; make one with ``uuid.uuid4()``, or, from
            Python 3.12 on, ``python -m uuid``.
        version: (major, minor), 0 to 65,535 each. A server serves clients of its own major version.
            New operations, and new parameters with defaults, need a new minor version. Any other
            change, also of a default, needs a new major version.

    Raises:
        DefinitionError: the class breaks a rule; the text names it, and the cure.
    """

    _rpc_definition: ClassVar[Definition]

    def __init_subclass__(
        cls,
        *,
        uuid: str | uuids.UUID | None = None,
        version: tuple[int, int] | None = None,
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        marked = {
            name: (value, getattr(value, _MARK))
            for name, value in vars(cls).items()
            if hasattr(value, _MARK)
        }
        base = getattr(cls, "_rpc_definition", None)
        if uuid is not None or version is not None:
            _check_bases(cls)
            inherited = {} if base is None else base.operations
            cls._rpc_definition = define(
                cls, _uuid(cls, uuid), _version(cls, version), marked, inherited, _scope()
            )
        elif marked or base is None:
            raise DefinitionError(
                "identity",
                f"interface {cls.__name__}",
                f"an interface is known by its uuid and version: {cls.__name__}(rpc.Interface, "
                f'uuid="{uuids.uuid4()}", version=(1, 0))',
            )
        else:
            _check_manager(cls, base.operations)


def _check_bases(cls: type) -> None:
    bases = [one for one in cls.__bases__ if hasattr(one, "_rpc_definition")]
    if len(bases) > 1:
        raise DefinitionError(
            "identity",
            f"interface {cls.__name__}",
            f"it inherits from {' and '.join(one.__name__ for one in bases)}, both of which number "
            "their operations from 0; take one of them",
        )


def _scope() -> Mapping[str, Any]:
    """The names around the class statement: annotations may use those of a function."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") == "abc":
        frame = frame.f_back
    return MappingProxyType({}) if frame is None else frame.f_locals


def _uuid(cls: type, value: str | uuids.UUID | None) -> uuids.UUID:
    try:
        return value if isinstance(value, uuids.UUID) else uuids.UUID(value)
    except (TypeError, ValueError, AttributeError):
        raise DefinitionError(
            "identity",
            f"interface {cls.__name__}",
            f'uuid={value!r} is none; one that is new: uuid="{uuids.uuid4()}"',
        ) from None


def _version(cls: type, value: tuple[int, int] | None) -> tuple[int, int]:
    if (
        not isinstance(value, tuple)
        or len(value) != 2
        or not all(type(number) is int and 0 <= number <= 0xFFFF for number in value)
    ):
        raise DefinitionError(
            "identity",
            f"interface {cls.__name__}",
            f"version={value!r} is none; give (major, minor), such as version=(1, 0)",
        )
    return value


def _check_manager(cls: type, operations: Mapping[str, Operation]) -> None:
    for name, one in operations.items():
        implementation = inspect.getattr_static(cls, name)
        if not getattr(implementation, "__isabstractmethod__", False):
            follows(cls, implementation, one)
