"""Shows signatures as a caller needs them: values of defaults, and what ``with`` takes."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import griffe

from .annotations import show_types, type_of

__all__ = ["show_class_for_callers", "show_for_callers"]

_CONTEXT_MANAGERS = {
    "contextmanager": ("Iterator[", "AbstractContextManager["),
    "asynccontextmanager": ("AsyncIterator[", "AbstractAsyncContextManager["),
}


def show_for_callers(described: griffe.Function, function: Any) -> None:
    """Changes the signature of a public function or method.

    Args:
        described: what griffe has read from the source.
        function: the function itself.
    """
    try:
        values = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    for parameter in described.parameters:
        value = values.get(parameter.name)
        if value is not None and _is_constant(parameter.default):
            parameter.default = _shown(value.default)
    for decorator in described.decorators:
        before, after = _CONTEXT_MANAGERS.get(str(decorator.value), ("", ""))
        returned = str(described.returns)
        if before and returned.startswith(before):
            described.returns = type_of(after + returned.removeprefix(before), described)
            described.labels.discard("async")
    show_types(described)


def show_class_for_callers(described: griffe.Class, found: type) -> None:
    """Changes the signature of a public class. Only a class with an "Args" section has one, because
    programs do not make instances of the others.
    """
    if dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            member = described.all_members.get(field.name)
            if isinstance(member, griffe.Attribute) and _is_constant(member.value):
                member.value = _shown(field.default)
        if any(field.name.startswith("_") for field in dataclasses.fields(found)):
            for base in (described, *described.mro()):
                base.decorators = []  # griffe would make a constructor for a dataclass
    for base in (described, *described.mro()):
        if "Args:" not in (base.docstring.value if base.docstring else ""):
            base.members.pop("__init__", None)
    made = described.all_members.get("__init__")
    if isinstance(made, griffe.Function):
        show_for_callers(made, found.__init__)  # type: ignore[misc]  # looked up, not called


def _is_constant(default: object) -> bool:
    text = str(default)
    return text.isidentifier() and text not in {"None", "True", "False"}


def _shown(default: object) -> str:
    if isinstance(default, int) and not isinstance(default, bool) and default >= 10_000:
        return f"{default:_}"
    return repr(default) if isinstance(default, (int, float, str, bytes)) else "..."
