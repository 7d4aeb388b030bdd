"""Recognizes the types of pipes and streams, also inside other types."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from .parameters import PipeType, is_alias, unaliased
from .stream_types import StreamType

if TYPE_CHECKING:
    from typing import TypeGuard

__all__ = ["bare", "flow_in", "is_flow_type", "is_pipe_type", "is_stream_type", "word_for"]


def is_pipe_type(annotation: object) -> TypeGuard[type[PipeType]]:
    return is_flow_type(annotation) and issubclass(annotation, PipeType)


def is_stream_type(annotation: object) -> TypeGuard[type[StreamType]]:
    return is_flow_type(annotation) and issubclass(annotation, StreamType)


def is_flow_type(annotation: object) -> TypeGuard[type[PipeType | StreamType]]:
    """Whether the annotation is the type of a pipe or a stream, without the type of its data."""
    # In Python 3.10, list[int] is an instance of type too, and issubclass() refuses it.
    return (
        isinstance(annotation, type)
        and get_origin(annotation) is None
        and issubclass(annotation, (PipeType, StreamType))
    )


def bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def word_for(flow: type[PipeType | StreamType]) -> str:
    """Returns "pipe" or "stream", for error texts."""
    return "pipe" if is_pipe_type(flow) else "stream"


def flow_in(
    annotation: Any, seen: frozenset[Any] = frozenset()
) -> type[PipeType | StreamType] | None:
    """Returns the first pipe or stream that the type contains: in an argument of a generic type, or
    in a field.
    """
    parts: Iterable[Any]
    if is_alias(annotation) or is_alias(get_origin(annotation)):
        # An alias may contain itself.
        parts = () if annotation in seen else (unaliased(annotation),)
        seen |= {annotation}
    elif is_flow_type(kind := get_origin(annotation) or annotation):
        return kind
    # In Python 3.10, list[int] is an instance of type too.
    elif isinstance(annotation, type) and get_origin(annotation) is None and annotation not in seen:
        parts = _field_types(annotation)
        seen |= {annotation}
    else:
        parts = (one for one in get_args(annotation) if not isinstance(one, (str, bytes, int)))
    for part in parts:
        found = flow_in(part, seen)
        if found is not None:
            return found
    return None


def _field_types(cls: type) -> Iterator[Any]:
    is_record = (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, (msgspec.Struct, tuple))
        or hasattr(cls, "__total__")
    )
    if is_record:
        try:
            yield from get_type_hints(cls, include_extras=True).values()
        except Exception:
            return
