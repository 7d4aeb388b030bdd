"""Changes of interfaces and operations."""

# The annotations are not text, so that they may use what stands in the functions.
from ipcpipes import rpc

from .rpc_evolution import (
    CONNECTING,
    NOT_RUN,
    NOT_SENT,
    Change,
    Served,
    change,
    fails,
    lost,
    runs,
    works,
)


@change("raise the minor version")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    same = [works("'a'", "find", "a")]
    return Change(Served(Old), Served(New), same, same)


@change("raise the major version")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(2, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [fails(rpc.UnknownInterface, CONNECTING, "the major versions differ", "find", "a")],
        [fails(rpc.UnknownInterface, CONNECTING, "the major versions differ", "find", "a")],
    )


@change("change the UUID")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    class New(rpc.Interface, uuid="a3f5" + uuid[4:], version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [fails(rpc.UnknownInterface, CONNECTING, "does not serve the interface New", "find", "a")],
        [fails(rpc.UnknownInterface, CONNECTING, "does not serve the interface Old", "find", "a")],
    )


@change("rename the class of the interface")
def _(uuid: str) -> Change:
    class Shop(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    class Store(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    same = [works("'a'", "find", "a")]
    return Change(Served(Shop), Served(Store), same, same)


@change("add an operation")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def added(self) -> str: ...
        @rpc.operation
        def find(self, name: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            works("'a'", "find", "a"),
            fails(rpc.ProcnumOutOfRange, NOT_SENT, "the server has version 1.0", "added"),
        ],
        [works("'a'", "find", "a")],
    )


@change("remove an operation")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def dropped(self) -> str: ...
        @rpc.operation
        def find(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [works("'a'", "find", "a")],
        [
            works("'a'", "find", "a"),
            fails(rpc.ProcnumOutOfRange, NOT_SENT, "has no dropped", "dropped"),
        ],
    )


@change("rename an operation")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def search(self, name: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [fails(rpc.ProcnumOutOfRange, NOT_SENT, "has no search", "search", "a")],
        [fails(rpc.ProcnumOutOfRange, NOT_SENT, "has no find", "find", "a")],
    )


@change("reorder operations")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...
        @rpc.operation
        def hide(self, name: str, key: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def hide(self, name: str, key: str) -> str: ...
        @rpc.operation
        def find(self, name: str) -> str: ...

    same = [works("'a'", "find", "a")]
    return Change(Served(Old), Served(New), same, same)


@change("change `idempotent` or `timeout`")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        @rpc.options(idempotent=True, timeout=60)
        def find(self, name: str) -> str: ...

    same = [works("'a'", "find", "a")]
    return Change(Served(Old), Served(New), same, same)


@change("add `maybe=True`")
def _(uuid: str) -> Change:
    waiting, maybe = with_and_without_an_answer(uuid)
    return Change(
        waiting,
        maybe,
        [lost("notes", "note", "a")],
        [fails(rpc.Fault, NOT_RUN, "differ about maybe=True", "note", "a")],
    )


@change("remove `maybe=True`")
def _(uuid: str) -> Change:
    waiting, maybe = with_and_without_an_answer(uuid)
    return Change(
        maybe,
        waiting,
        [fails(rpc.Fault, NOT_RUN, "differ about maybe=True", "note", "a")],
        [lost("notes", "note", "a")],
    )


def with_and_without_an_answer(uuid: str) -> tuple[Served, Served]:
    class Waiting(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def note(self, text: str) -> None: ...
        @rpc.operation
        def notes(self) -> int: ...

    class Maybe(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        @rpc.options(maybe=True)
        def note(self, text: str) -> None: ...
        @rpc.operation
        def notes(self) -> int: ...

    return Served(Waiting, notes=count_of_notes), Served(Maybe, notes=count_of_notes)


def count_of_notes() -> int:
    return runs.count("note")
