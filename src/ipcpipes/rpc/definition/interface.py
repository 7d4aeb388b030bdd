"""The base class of interfaces and managers, and the decorators of operations.

The rules are checked when a class is made.
"""

from __future__ import annotations

import abc
import sys
import uuid as uuids
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from ..errors import BrokenRule, DefinitionError, Fault
from .declared import declared_faults
from .operations import Definition, Options
from .rules import check_manager, checking, define

__all__ = ["Interface", "InterfaceClass", "operation", "options"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_MARK = "__ipcpipes_operation__"
_OPTIONS = "__ipcpipes_options__"
_NO_OPTIONS = Options(idempotent=False, maybe=False, timeout=None)


if TYPE_CHECKING:
    # A method without a body is an error for mypy, except if it is abstract; and mypy knows an
    # abstract method only by the name of this decorator. Pyright agrees with it.
    from abc import abstractmethod as operation
else:

    def operation(function: Any = None, /, **chosen: Any) -> Any:
        """Marks a method of an :class:`Interface` as an operation, which clients can call.

        The body of the method never runs: write ``...``. Parameters and results can have any type
        that :mod:`msgspec` supports. Pipes are parameters of the types :class:`InPipe`,
        :class:`OutPipe` and :class:`InOutPipe`.

        For a type checker it is :func:`abc.abstractmethod`, so that a method without a body is
        correct, and a manager in which an operation is missing is not.

        Args:
            chosen: the arguments of :func:`options`. ``@rpc.operation(timeout=5)`` does the same as
                ``@rpc.operation`` with ``@rpc.options(timeout=5)``, but a type checker refuses it.

        Raises:
            TypeError: it does not decorate a method.
            DefinitionError: when the class is made, if the operation breaks a rule.
        """
        if function is None:
            choose = options(**chosen)
            return lambda decorated: choose(operation(decorated))
        _check_method("operation", function)
        setattr(function, _MARK, True)
        return abc.abstractmethod(function)


def options(
    *, idempotent: bool = False, maybe: bool = False, timeout: float | None = None
) -> Callable[[FunctionT], FunctionT]:
    """Says what an operation promises. It stands above or below ``@rpc.operation``:

    >>> @rpc.operation
    ... @rpc.options(idempotent=True, timeout=30)
    ... async def find(self, word: str) -> list[str]: ...

    Args:
        idempotent: a repeated call has the same effect as one call. This is not allowed with pipes.
        maybe: the client does not wait for an answer, and gets no error if the call fails. (The
            name is DCE's: maybe the call is executed, maybe not.) This is not allowed with pipes or
            a result.
        timeout: seconds, more than 0, after which a call fails; ``None`` for no limit. A client can
            choose another time (:meth:`ClientOperation.with_options`).

    Raises:
        ValueError: ``timeout`` is not more than 0.
        TypeError: it does not decorate a method, or the method has options already.
        DefinitionError: when the class is made, if the operation breaks a rule.
    """
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
    chosen = Options(idempotent=idempotent, maybe=maybe, timeout=timeout)

    def choose(function: FunctionT) -> FunctionT:
        _check_method("options", function)
        if hasattr(function, _OPTIONS):
            raise TypeError("@rpc.options stands there twice; write all options into one of them")
        setattr(function, _OPTIONS, chosen)
        return function

    return choose


def _check_method(decorator: str, function: object) -> None:
    if not callable(function) or isinstance(function, staticmethod):
        raise TypeError(f"@rpc.{decorator} decorates a method, not {function!r}")


class Interface(abc.ABC):
    """The base class of interfaces, and of the managers that implement them.

    >>> class Accumulator(rpc.Interface, uuid="5b4b1e6c-…", version=(1, 0)):
    ...     @rpc.operation
    ...     async def total(self, scale: int, numbers: rpc.InPipe[rpc.int32]) -> int: ...
    >>> class AccumulatorManager(Accumulator):
    ...     async def total(self, scale, numbers):
    ...         return scale * sum([sum(chunk) async for chunk in numbers])

    A subclass with a ``uuid`` is an interface. A subclass of an interface is a manager: it
    implements each operation, with the same parameters.

    Args:
        uuid: identifies the interface, and never changes; make one with ``uuid.uuid4()``, or with
            ``python -m uuid`` (Python 3.12 and later).
        version: (major, minor), 0 to 65,535 each. A server serves clients of its own major version.
            New operations, new last parameters with defaults and new fields with defaults need a
            new minor version; docs/rpc-evolution.md says what each other change leads to.
        raises: exceptions that reach the client as what they are, with their fields: subclasses of
            :class:`Fault`. A class with fields is a dataclass with ``eq=False``. The exceptions of
            a base interface need not be repeated. To add one, increase the minor version: an older
            client gets a :class:`Fault` with the same code and message.

    Raises:
        DefinitionError: the class breaks a rule; the text names the rule and says what to do.
    """

    _rpc_definition: ClassVar[Definition]

    def __init_subclass__(
        cls,
        *,
        uuid: str | uuids.UUID | None = None,
        version: tuple[int, int] | None = None,
        raises: Sequence[type[Fault]] = (),
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        marked = {
            name: (value, getattr(value, _OPTIONS, _NO_OPTIONS))
            for name, value in vars(cls).items()
            if hasattr(value, _MARK)
        }
        for name, value in vars(cls).items():
            if hasattr(value, _OPTIONS) and name not in marked:
                raise DefinitionError(
                    "parameters",
                    f"class {cls.__name__}, method {name}",
                    "it has options, but it is not an operation; add @rpc.operation, or remove "
                    "@rpc.options if this is a manager",
                )
        base = getattr(cls, "_rpc_definition", None)
        if uuid is not None or version is not None or raises:
            with checking(f"interface {cls.__name__}"):
                _check_bases(cls)
                identity = _uuid(uuid), _version(version)
                declared = declared_faults(raises, {} if base is None else base.raises)
            inherited = {} if base is None else base.operations
            cls._rpc_definition = define(cls, *identity, marked, inherited, declared, _scope())
        elif marked or base is None:
            raise DefinitionError(
                "identity",
                f"interface {cls.__name__}",
                f"an interface needs a uuid and a version: {cls.__name__}(rpc.Interface, "
                f'uuid="{uuids.uuid4()}", version=(1, 0))',
            )
        else:
            check_manager(cls, base.operations)


InterfaceT = TypeVar("InterfaceT", bound=Interface)

InterfaceClass: TypeAlias = Callable[..., InterfaceT]
"""An interface as an argument, for a type checker: mypy refuses an abstract class for
``type[InterfaceT]`` (python/mypy#4717).
"""


def _check_bases(cls: type) -> None:
    bases = [one for one in cls.__bases__ if hasattr(one, "_rpc_definition")]
    if len(bases) > 1:
        raise BrokenRule(
            "identity",
            f"it inherits from {' and '.join(one.__name__ for one in bases)}, both of which number "
            "their operations from 0; inherit from one of them",
        )


def _scope() -> Mapping[str, Any]:
    """Returns the local names around the class statement: annotations may use the local names of a
    function.
    """
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") == "abc":
        frame = frame.f_back
    return MappingProxyType({}) if frame is None else frame.f_locals


def _uuid(value: str | uuids.UUID | None) -> uuids.UUID:
    try:
        return value if isinstance(value, uuids.UUID) else uuids.UUID(value)
    except (TypeError, ValueError, AttributeError):
        raise BrokenRule(
            "identity", f'uuid={value!r} is not a UUID; a new one: uuid="{uuids.uuid4()}"'
        ) from None


def _version(value: tuple[int, int] | None) -> tuple[int, int]:
    if (
        not isinstance(value, tuple)
        or len(value) != 2
        or not all(type(number) is int and 0 <= number <= 0xFFFF for number in value)
    ):
        raise BrokenRule(
            "identity",
            f"version={value!r} is not a version; use (major, minor), such as version=(1, 0)",
        )
    return value
