"""The exceptions that an interface declares, which reach the client as what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_type_hints

import msgspec

from ..errors import BrokenRule, Fault, RpcError
from .defaults import factory_of
from .sendable import check_sendable
from .values import encode, keep_offsets, times_of

__all__ = ["Declared", "DeclaredFault", "declared_faults"]

_RESERVED = {"message", "code", "type", "traceback", "sub_exceptions", "notes", "args"}


@dataclass(frozen=True)
class DeclaredFault:
    """One class of exceptions.

    Attributes:
        kind: the class.
        types: the types of its fields.
    """

    kind: type[Fault]
    types: Mapping[str, Any]

    def encode_fields(self, fault: Fault) -> bytes:
        """Encodes the fields as a map.

        Raises:
            Exception: a field is missing, or cannot be sent.
        """
        return encode(
            {
                name: keep_offsets(getattr(fault, name), times_of(kind))
                for name, kind in self.types.items()
            }
        )

    def with_fields(self, encoded: msgspec.Raw, plain: RpcError) -> Fault:
        """Returns an instance of the class with the message and the code of a fault. No code of the
        class runs.

        Raises:
            Exception: the fields are not of their types.
        """
        record = msgspec.msgpack.decode(encoded, type=self._record())
        fault = self.kind.__new__(self.kind)
        Fault.__init__(fault, plain.message, code=plain.code, traceback=plain.traceback)
        for name in self.types:
            setattr(fault, name, getattr(record, name))
        return fault

    def _record(self) -> type[msgspec.Struct]:
        """Returns a class with the same fields and defaults, but without code of the user's."""
        fields: list[Any] = []
        for field in _fields_of(self.kind):
            factory: Any = field.default_factory
            if field.default is not dataclasses.MISSING:
                factory = factory_of(field.default)
            kind = self.types[field.name]
            if factory is dataclasses.MISSING:
                fields.append((field.name, kind))
            else:
                fields.append((field.name, kind, msgspec.field(default_factory=factory)))
        return msgspec.defstruct(self.kind.__name__, fields, kw_only=True)


Declared = Mapping[str, DeclaredFault]
"""The declared exceptions by their names."""


def declared_faults(kinds: Iterable[type[Fault]], inherited: Declared) -> Declared:
    """Returns the exceptions that an interface declares, and those of its base.

    Raises:
        BrokenRule: one of them cannot be declared.
    """
    declared = dict(inherited)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Fault) and kind is not Fault):
            raise BrokenRule("raises", f"{kind!r} is not a subclass of rpc.Fault")
        name = kind.__name__
        if name in declared and declared[name].kind is not kind:
            raise BrokenRule("raises", f"two classes are called {name}; rename one of them")
        declared[name] = _declared(kind)
    return MappingProxyType(declared)


def _declared(kind: type[Fault]) -> DeclaredFault:
    fields = _fields_of(kind)
    if fields and (kind.__hash__ is None or _is_frozen(kind) or "__slots__" in vars(kind)):
        raise BrokenRule(
            "raises",
            f"{kind.__name__} cannot be raised; use @dataclass(eq=False), without frozen and slots",
        )
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception as error:
        raise BrokenRule(
            "types", f"the annotations of {kind.__name__} cannot be understood: {error}"
        ) from None
    for field in fields:
        if field.name in _RESERVED:
            raise BrokenRule(
                "raises", f"{kind.__name__}.{field.name} is an attribute of every fault; rename it"
            )
        check_sendable(hints[field.name])
    return DeclaredFault(kind, MappingProxyType({one.name: hints[one.name] for one in fields}))


def _fields_of(kind: type[Fault]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()


def _is_frozen(kind: type) -> bool:
    return bool(getattr(kind, "__dataclass_params__").frozen)  # noqa: B009
