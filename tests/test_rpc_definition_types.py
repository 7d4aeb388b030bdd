"""Which types arguments and results may be of."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
import pytest

from ipcpipes import rpc

from .rpc_defining import Anything, Color, Sample3, refused, returning, taken

T = TypeVar("T")


@dataclass
class Holder:
    inner: dict[str, list[Anything]]


class Chain(msgspec.Struct):
    value: int
    following: Chain | None = None


class Box(msgspec.Struct, Generic[T]):
    content: T


class Speaks(Protocol):
    def speak(self) -> None: ...


@pytest.mark.parametrize(
    "annotation",
    [
        Anything,
        list[Anything],
        dict[str, tuple[int, Anything]],
        Anything | None,
        Holder,
        list[Holder],
        Box[Anything],
        Speaks,
        complex,
        Callable[[], None],
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [taken, returning])
def test_what_cannot_be_sent_is_refused_when_the_class_is_made(make: Any, annotation: Any) -> None:
    refused(make, annotation, "types", "cannot")


def test_and_what_it_is_called() -> None:
    refused(
        taken,
        Holder,
        "types",
        "Anything cannot be sent; take a dataclass, a msgspec.Struct or a TypedDict",
    )


class Left(msgspec.Struct):
    pass


class Right(msgspec.Struct):
    pass


@pytest.mark.parametrize("annotation", [Left | Right, list[Left | Right]], ids=str)
def test_what_msgspec_cannot_tell_apart_is_refused(annotation: Any) -> None:
    refused(taken, annotation, "types", "msgspec cannot type it: ")


@pytest.mark.parametrize(
    "annotation",
    [
        int,
        str | None,
        list[dict[str, float]],
        Chain,
        list[Chain],
        Box[Chain],
        Sample3,
        Color,
        uuids.UUID,
        bytes,
        Any,
        rpc.int16,
        Annotated[list[rpc.int16], rpc.Length(2)],
        Annotated[int, msgspec.Meta(ge=0, extra={"unit": []})],
        Annotated[int, ["cannot be hashed"]],
    ],
    ids=str,
)
def test_what_msgspec_can_type_is_accepted(annotation: Any) -> None:
    assert taken(annotation).types["given"] == annotation
    assert returning(annotation).result == annotation
