"""Changes of streams."""

# The annotations are not text, so that they may use what stands in the functions.
from dataclasses import field, make_dataclass
from typing import Any

from ipcpipes import rpc

from .rpc_evolution import HAS_RUN, NOT_SENT, Call, Change, Served, change, fails, works


def streams(uuid: str, old: Any, new: Any, **answers: Any) -> tuple[Served, Served]:
    """Two interfaces whose operation has one stream."""

    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, values: old) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def send(self, values: new) -> str: ...

    return Served(Old, **answers), Served(New, **answers)


def differs(text: str, *arguments: Any) -> Call:
    return fails(rpc.WrongPipeVersion, NOT_SENT, text, "send", *arguments)


@change("change a pipe to a stream")
def _(uuid: str) -> Change:
    return Change(
        *streams(uuid, rpc.InPipe[rpc.int32], rpc.InStream[int]),
        [differs("(in stream) here and (in int32) at the server", [1])],
        [differs("(in int32) here and (in stream) at the server", [1])],
    )


@change("change the direction of a stream")
def _(uuid: str) -> Change:
    return Change(
        *streams(uuid, rpc.InStream[int], rpc.OutStream[int]),
        [differs("(out stream) here and (in stream) at the server", [])],
        [differs("(in stream) here and (out stream) at the server", [1])],
    )


@change("add or remove a stream")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, values: rpc.InStream[int]) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def send(self, values: rpc.InStream[int], log: rpc.OutStream[str]) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [differs("(in stream, out stream) here and (in stream) at the server", [1], [])],
        [differs("(in stream) here and (in stream, out stream) at the server", [1])],
    )


WRONG = "a value of the stream values is not of its type: Expected `int`, got `str`"


@change("widen the type of the values of a stream to the server")
def _(uuid: str) -> Change:
    return Change(
        *streams(uuid, rpc.InStream[int], rpc.InStream[int | str]),
        [works("[1]", "send", [1]), fails(rpc.BadStubData, HAS_RUN, WRONG, "send", ["a"])],
        [works("[1]", "send", [1])],
    )


@change("widen the type of the values of a stream to the client")
def _(uuid: str) -> Change:
    return Change(
        *streams(uuid, rpc.OutStream[int], rpc.OutStream[int | str], send=["a"]),
        [works(("Ellipsis", ["a"]), "send", sinks=1)],
        [fails(rpc.BadStubData, HAS_RUN, WRONG, "send", sinks=1)],
    )


@change("add a field with a default to a record in a stream")
def _(uuid: str) -> Change:
    old: Any = make_dataclass("Record", [("name", str)])
    new: Any = make_dataclass("Record", [("name", str), ("size", int, field(default=3))])
    return Change(
        *streams(uuid, rpc.InStream[old], rpc.InStream[new]),
        [works("[Record(name='a')]", "send", [new("a", 5)])],
        [works("[Record(name='a', size=3)]", "send", [old("a")])],
    )
