"""An omitted argument has its default, and each call gets its own copy of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import pytest

from ipcpipes import rpc

from .rpc_both_drivers import DRIVERS, connected, served

UUID = "5d4a3c9e-8a55-4d0f-8d3c-0c1e7f4c9a21"


@dataclass
class Options:
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    names: list[str] = field(default_factory=list)


class Settings(msgspec.Struct):
    names: dict[str, list[str]] = {}


class Color(enum.Enum):
    RED = 1


class Notes(rpc.Interface, uuid=UUID, version=(1, 1)):
    """Adds a name to its arguments."""

    @rpc.operation
    def listed(self, name: str, names: list[str] = []) -> int: ...  # noqa: B006
    @rpc.operation
    def nested(
        self, name: str, names: tuple[dict[str, list[str]], int] = ({"a": ["x"]}, 1)
    ) -> int: ...
    @rpc.operation
    def in_class(self, name: str, options: Options = Options(["x"])) -> int: ...  # noqa: B008
    @rpc.operation
    def in_frozen(self, name: str, options: Frozen = Frozen(["x"])) -> int: ...
    @rpc.operation
    def in_struct(self, name: str, settings: Settings = Settings()) -> int: ...  # noqa: B008
    @rpc.operation
    def inner_field(self, name: str, options: list[Options] = [Options()]) -> int: ...  # noqa: B006,B008
    @rpc.operation
    def fixed(
        self, name: str, color: Color = Color.RED, numbers: tuple[int, ...] = (1, 2)
    ) -> Any: ...


class Older(rpc.Interface, uuid=UUID, version=(1, 0)):
    """The same interface before the parameters with defaults were added."""

    @rpc.operation
    def listed(self, name: str) -> int: ...
    @rpc.operation
    def nested(self, name: str) -> int: ...
    @rpc.operation
    def in_class(self, name: str) -> int: ...
    @rpc.operation
    def in_frozen(self, name: str) -> int: ...
    @rpc.operation
    def in_struct(self, name: str) -> int: ...
    @rpc.operation
    def inner_field(self, name: str) -> int: ...
    @rpc.operation
    def fixed(self, name: str) -> Any: ...


class NotesManager(Notes):
    def listed(self, name: str, names: Any = ()) -> int:
        names.append(name)
        return len(names)

    def nested(self, name: str, names: Any = ()) -> int:
        return self.listed(name, names[0]["a"])

    def in_class(self, name: str, options: Any = ()) -> int:
        return self.listed(name, options.names)

    in_frozen = in_class

    def in_struct(self, name: str, settings: Any = ()) -> int:
        return self.listed(name, settings.names.setdefault("x", []))

    def inner_field(self, name: str, options: Any = ()) -> int:
        return self.listed(name, options[0].names)

    def fixed(self, name: str, color: Any = (), numbers: Any = ()) -> Any:
        return color is Color.RED and numbers == (1, 2)


@pytest.mark.parametrize("server", DRIVERS)
@pytest.mark.parametrize("client", DRIVERS)
@pytest.mark.parametrize("interface", [Older, Notes])
def test_each_call_has_its_own_default(
    server: str, client: str, interface: type[rpc.Interface]
) -> None:
    sizes = {"listed": 1, "nested": 2, "in_class": 2, "in_frozen": 2, "in_struct": 1}
    with served(server, NotesManager()) as endpoint:
        for _ in range(3):  # clients, with several calls each
            with connected(client, interface, endpoint) as notes:
                for name, size in [*sizes.items(), ("inner_field", 1)] * 2:
                    assert notes.call(name, "secret") == size, name
                assert notes.call("fixed", "") is True


class Row(NamedTuple):
    cells: list[int] = []  # noqa: RUF012


@dataclass(eq=False)
class Mutable:
    names: list[str] = field(default_factory=list)


@dataclass
class Holder:
    inner: Mutable = Mutable()  # noqa: RUF009


@dataclass
class Fine:
    frozen: Any = (1, "x", None)
    missing: str | None = None
    unset: int | msgspec.UnsetType = msgspec.UNSET
    color: Color = Color.RED


@pytest.mark.parametrize(
    ("kind", "where"),
    [(Row, "Row.cells"), (list[Row | None], "Row.cells"), (Holder, "Holder.inner")],
)
def test_a_mutable_default_of_a_field_is_refused(kind: Any, where: str) -> None:
    with pytest.raises(rpc.DefinitionError) as caught:

        class Rows(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            def add(self, row: kind) -> None: ...

    assert str(caught.value) == (
        f"interface Rows, operation add, parameter row: the default of {where} is mutable, and all "
        "calls would share it; use a dataclass with default_factory, or None (rule: types)"
    )


def test_immutable_defaults_of_fields_are_accepted() -> None:
    class Rows(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        def add(self, row: Fine) -> None: ...
