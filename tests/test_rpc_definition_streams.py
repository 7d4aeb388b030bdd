"""Definitions of operations with streams: what they consist of, and the rules."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterator
from typing import Annotated, Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.definition.streams import RESULT
from ipcpipes.rpc.errors import DefinitionError

from .rpc_defining import UUID, refused, returning, taken
from .rpc_pairs import definition


class Record(msgspec.Struct):
    name: str


def test_an_operation_has_the_streams_that_the_method_declares() -> None:
    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        def work(
            self, first: rpc.InStream[str], size: int, second: rpc.OutStream[Record | None]
        ) -> AsyncIterator[int]: ...

    (work,) = definition(Sample).operations.values()
    assert [(one.name, one.index, one.into, one.type) for one in work.streams] == [
        ("first", 0, True, str),
        ("second", 1, False, Record | None),
        (RESULT, 2, False, int),
    ]
    assert work.yields is work.streams[2]
    assert [*work.flows] == ["first", "second"]
    assert [*work.types] == ["size"]
    assert work.result is type(None)
    assert work.signature_of_pipes == "in stream, out stream, out stream"
    assert not work.is_plain
    assert work.pipes == ()


@pytest.mark.parametrize(
    "annotation",
    [
        AsyncIterator[int],
        AsyncGenerator[int, None],
        Iterator[int],
        Generator[int, None, None],
        typing.AsyncIterator[int],
        Annotated[AsyncIterator[int], "a note"],
    ],
)
def test_operations_that_yield(annotation: Any) -> None:
    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        def work(self) -> annotation: ...

    operation = definition(Sample).operations["work"]
    assert operation.yields is not None
    assert operation.yields.type is int


@pytest.mark.parametrize("kind", [rpc.InStream, rpc.OutStream])
@pytest.mark.parametrize("each", [rpc, blocking])
def test_the_types_of_both_drivers_mean_the_same(kind: Any, each: Any) -> None:
    (stream,) = taken(getattr(each, kind.__name__)[int]).streams
    assert stream.into == (kind is rpc.InStream)
    assert stream.type is int


def test_streams_may_carry_anything_that_parameters_may() -> None:
    for kind in (dict[str, list[Record]], Any, None, Annotated[int, msgspec.Meta(gt=0)]):
        assert len(taken(rpc.InStream[kind]).streams) == 1  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("annotation", "rule", "text"),
    [
        (rpc.InStream, "types", "the type of the values is missing; write InStream[str]"),
        (
            rpc.InStream[object],
            "types",
            "object cannot be sent; use a dataclass, a msgspec.Struct or a TypedDict",
        ),
        (
            rpc.InStream[int] | None,
            "never optional",
            "a stream cannot be optional; remove None, and pass an empty stream",
        ),
        (
            list[rpc.InStream[int]],
            "only a parameter",
            "a stream cannot be part of another type; make it a parameter of its own",
        ),
        (
            rpc.InStream[rpc.OutStream[int]],
            "only a parameter",
            "a stream cannot be part of another type; make it a parameter of its own",
        ),
        (
            rpc.InStream[rpc.OutPipe[rpc.byte]],
            "only a parameter",
            "a pipe cannot be part of another type; make it a parameter of its own",
        ),
        (
            Annotated[rpc.InStream[int], rpc.Range(1, 2)],
            "no transmit_as",
            "a stream has no annotations; remove Range(low=1, high=2), or annotate the type of it",
        ),
    ],
)
def test_rules_of_parameters(annotation: Any, rule: str, text: str) -> None:
    refused(taken, annotation, rule, text)


def message(caught: pytest.ExceptionInfo[DefinitionError]) -> str:
    return str(caught.value)


@pytest.mark.parametrize("option", ["idempotent", "maybe"])
def test_options_that_streams_exclude(option: str) -> None:
    with pytest.raises(DefinitionError, match=f"remove {option}=True or the stream"):
        taken(rpc.InStream[int], **{option: True})

    def yielding() -> None:
        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            @rpc.options(**{option: True})
            def work(self) -> AsyncIterator[int]: ...

    with pytest.raises(DefinitionError, match=f"remove {option}=True or what it yields"):
        yielding()


def test_a_stream_has_no_default() -> None:
    with pytest.raises(DefinitionError, match="a stream cannot have a default; remove the default"):

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            async def work(self, given: rpc.InStream[int] = None) -> None: ...  # type: ignore[assignment]


def test_pipes_and_streams_do_not_mix() -> None:
    with pytest.raises(
        DefinitionError, match="it has the pipe data and the stream values: pipes h"
    ):

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            async def work(
                self, data: rpc.InPipe[rpc.byte], values: rpc.OutStream[int]
            ) -> None: ...

    with pytest.raises(DefinitionError, match="it has the pipe data and the stream what it yields"):

        class Other(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            def work(self, data: rpc.InPipe[rpc.byte]) -> AsyncIterator[int]: ...


def test_a_stream_is_no_result() -> None:
    with pytest.raises(
        DefinitionError, match=r"a stream cannot be a result; use a parameter of rpc.OutStream"
    ):
        returning(rpc.OutStream[int])


def test_an_async_operation_does_not_yield() -> None:
    with pytest.raises(DefinitionError, match="write def instead of async def"):
        returning(AsyncIterator[int])


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (collections.abc.AsyncIterator, "the type of the values is missing"),
        (typing.Iterator, "the type of the values is missing"),
        (AsyncIterable[int], "an operation that yields returns an iterator"),
        (collections.abc.Iterable[int], "an operation that yields returns an iterator"),
        (AsyncGenerator[int, str], "a client can neither send values into a generator nor get"),
        (Generator[int, None, str], "a client can neither send values into a generator nor get"),
        (AsyncIterator[object], "object cannot be sent"),
        (AsyncIterator[rpc.OutStream[int]], "a stream cannot be part of another type"),
    ],
)
def test_rules_of_what_is_yielded(annotation: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            def work(self) -> annotation: ...


@pytest.mark.parametrize("kind", [rpc.InStream, rpc.OutStream, blocking.InStream])
def test_stream_types_have_no_subclasses(kind: Any) -> None:
    with pytest.raises(DefinitionError, match="a stream type has no subclasses"):
        type("Own", (kind,), {})


def test_a_manager_may_be_an_async_generator() -> None:
    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        def work(self, count: int) -> AsyncIterator[int]: ...

    class Manager(Sample):
        async def work(self, count: int) -> AsyncIterator[int]:
            yield count

    with pytest.raises(DefinitionError, match="its parameters are"):

        class Wrong(Sample):
            async def work(self, other: int) -> AsyncIterator[int]:
                yield other

    with pytest.raises(TypeError, match="is implemented by an async method, and there is no event"):
        blocking.serve(Manager(), "never")
