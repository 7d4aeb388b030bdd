"""Helpers for tests of definitions: operations with one annotation, and a check for errors."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any

import pytest

from ipcpipes import rpc
from ipcpipes.rpc.definition.operations import Operation
from ipcpipes.rpc.errors import DefinitionError

from .rpc_pairs import definition

UUID = "6f1c6b1e-58b8-4b52-9d0c-0f6f4f0f7a10"
OTHER_UUID = "2d9e7c1a-3f5d-4c0e-8a58-6b0a44c3f5b2"


def taken(annotation: Any, **options: Any) -> Operation:
    """An operation with one parameter of this type, called ``given``."""

    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        @rpc.options(**options)
        async def work(self, given: annotation) -> None: ...

    return definition(Sample).operations["work"]


def returning(annotation: Any, **options: Any) -> Operation:
    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        @rpc.options(**options)
        async def work(self) -> annotation: ...

    return definition(Sample).operations["work"]


GIVEN = "interface Sample, operation work, parameter given"
RESULT = "interface Sample, operation work, its result"


def refused(
    make: Callable[..., object], annotation: Any, rule: str, *cure: str, where: str | None = None
) -> None:
    """Checks that the annotation is refused, by this rule, with these words."""
    with pytest.raises(DefinitionError) as caught:
        make(annotation)
    error = caught.value
    expected = where or (GIVEN if make is taken else RESULT)
    assert str(error).startswith(f"{expected}: ")
    assert str(error).endswith(f" (rule: {rule})")
    assert error.rule == rule
    for words in cure:
        assert words in error.text


class Color(IntEnum):
    RED = 0
    BLUE = -1


class Sample3(rpc.Structure):
    time: rpc.int64
    channels: Annotated[list[rpc.float32], rpc.Length(3)]


class Anything:
    pass


class Remote(rpc.Interface, uuid=OTHER_UUID, version=(1, 0)):
    @rpc.operation
    async def work(self) -> None: ...


class Mixed(rpc.Interface, uuid=UUID, version=(3, 7)):
    """An interface of the tests."""

    @rpc.operation
    async def mix(
        self,
        scale: int,
        first: rpc.InPipe[rpc.int32],
        second: rpc.OutPipe[rpc.byte],
        both: rpc.InOutPipe[Sample3],
        title: str = "none",
        tags: list[str] = [],  # noqa: B006  # each call has the same, and nothing is added to it
    ) -> list[float]:
        """Mixes."""
        raise NotImplementedError

    @rpc.operation
    @rpc.options(idempotent=True, timeout=2)
    def look(self) -> None: ...
