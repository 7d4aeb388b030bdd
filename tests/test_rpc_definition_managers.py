"""A manager implements each operation, by a method with the same parameters."""

from __future__ import annotations

from types import new_class
from typing import Any

import pytest

from ipcpipes import rpc
from ipcpipes.rpc.errors import DefinitionError

from .rpc_defining import OTHER_UUID
from .rpc_pairs import definition


class Calculator(rpc.Interface, uuid=OTHER_UUID, version=(1, 0)):
    @rpc.operation
    async def add(self, a: int, b: int = 1) -> int:
        raise NotImplementedError

    @rpc.operation
    def total(self, numbers: rpc.InPipe[rpc.int32]) -> int:
        raise NotImplementedError


def test_a_manager_implements_each_operation() -> None:
    class Manager(Calculator):
        async def add(self, a: int, b: int = 2) -> int:
            return a + b

        async def total(self, numbers: rpc.InPipe[rpc.int32]) -> int:  # type: ignore[override]
            return 0

        def helper(self) -> None: ...

    assert Manager()._rpc_definition is definition(Calculator)


def test_an_incomplete_manager_cannot_be_instantiated() -> None:
    class Manager(Calculator):
        async def add(self, a: int, b: int = 1) -> int:
            return a + b

    with pytest.raises(TypeError, match=r"abstract.*total"):
        Manager()  # type: ignore[abstract]  # which is the mistake


def test_a_subclass_can_complete_a_manager() -> None:
    class Half(Calculator):
        async def add(self, a: int, b: int = 1) -> int:
            return a + b

    class Whole(Half):
        def total(self, numbers: rpc.InPipe[rpc.int32]) -> int:
            return 0

    assert Whole()


def test_a_manager_takes_the_same_parameters() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Manager(Calculator):
            async def add(self, b: int, a: int = 1) -> int:  # type: ignore[override]
                return a + b

    assert str(caught.value) == (
        "manager Manager, operation add: its parameters are (b, a), but the interface has (a, b) "
        "(rule: parameters)"
    )


class Wrong:
    async def add(self, a: int) -> int:
        return a


def test_an_inherited_method_has_the_same_parameters() -> None:
    with pytest.raises(
        DefinitionError, match=r"^manager Manager, operation add: its parameters are \(a\), "
    ):

        class Manager(Wrong, Calculator):  # type: ignore[misc]
            pass


@pytest.mark.parametrize("add", [5, staticmethod(lambda a, b: a), property(lambda self: 1), None])
def test_a_manager_implements_operations_with_methods(add: Any) -> None:
    with pytest.raises(
        DefinitionError, match=r"^manager Manager, operation add: it is not a method;"
    ):
        new_class("Manager", (Calculator,), exec_body=lambda names: names.update(add=add))


def test_a_manager_method_without_self_is_refused() -> None:
    def add() -> None: ...

    with pytest.raises(DefinitionError, match=r"^manager Manager, operation add: .*self"):
        new_class("Manager", (Calculator,), exec_body=lambda names: names.update(add=add))
