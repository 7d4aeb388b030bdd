"""The types of arguments and results."""

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
def test_unsupported_types_are_refused_when_the_class_is_made(make: Any, annotation: Any) -> None:
    refused(make, annotation, "types", "cannot")


def test_the_error_names_the_unsupported_class() -> None:
    refused(
        taken,
        Holder,
        "types",
        "Anything cannot be sent; use a dataclass, a msgspec.Struct or a TypedDict",
    )


class Left(msgspec.Struct):
    pass


class Right(msgspec.Struct):
    pass


@pytest.mark.parametrize("annotation", [Left | Right, list[Left | Right]], ids=str)
def test_ambiguous_unions_are_refused(annotation: Any) -> None:
    refused(taken, annotation, "types", "msgspec does not support it: ")


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
def test_types_that_msgspec_supports_are_accepted(annotation: Any) -> None:
    assert taken(annotation).types["given"] == annotation
    assert returning(annotation).result == annotation
