"""The base of the types of stream parameters."""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import DefinitionError

__all__ = ["StreamType"]


class StreamType:
    """The base of the types of stream parameters, which cannot be subclassed. Each driver has its
    own two, because their methods differ; an interface may use any of them.
    """

    _into: ClassVar[bool]

    def __init_subclass__(cls, *, implementation: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not implementation:
            raise DefinitionError(
                "only a parameter", f"class {cls.__name__}", "a stream type has no subclasses"
            )
