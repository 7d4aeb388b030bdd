"""Changes of parameters, of their types, and of the type of the result."""

# The annotations are not text, so that they may use what stands in the functions.
from ipcpipes import rpc

from .rpc_evolution import (
    HAS_RUN,
    NOT_RUN,
    Change,
    Served,
    change,
    fails,
    silent,
    works,
)

KNOWS = "this server (version 1.0) knows"


@change("add a parameter with a default, as the last one")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def make(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def make(self, name: str, size: int = 64) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            works("'a'", "make", "a", 64),
            fails(rpc.BadStubData, NOT_RUN, f"{KNOWS} 1", "make", "a", 32),
        ],
        [works("'a', 64", "make", "a")],
    )


@change("add a parameter without a default, as the last one")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def make(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def make(self, name: str, size: int) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [fails(rpc.BadStubData, NOT_RUN, f"{KNOWS} 1", "make", "a", 32)],
        [fails(rpc.BadStubData, NOT_RUN, "needs 2", "make", "a")],
    )


@change("add a parameter before others without a default")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def cut(self, text: str, size: int) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def cut(self, text: str, start: int, size: int) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [fails(rpc.BadStubData, NOT_RUN, f"{KNOWS} 2", "cut", "a", 1, 5)],
        [fails(rpc.BadStubData, NOT_RUN, "needs 3", "cut", "a", 5)],
    )


@change("add a parameter before others with a default")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def cut(self, text: str, size: int = 80) -> str: ...
        @rpc.operation
        def pad(self, text: str, size: int = 80) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def cut(self, text: str, start: int = 0, size: int = 80) -> str: ...
        @rpc.operation
        def pad(self, text: str, mark: str = " ", size: int = 80) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            silent("'a', 1", "cut", "a", 1),
            fails(rpc.BadStubData, NOT_RUN, f"{KNOWS} 2", "cut", "a", 1, 5),
            fails(rpc.BadStubData, NOT_RUN, "Expected `int`, got `str`", "pad", "a", "-"),
        ],
        [
            silent("'a', 5, 80", "cut", "a", 5),
            fails(rpc.BadStubData, NOT_RUN, "Expected `str`, got `int`", "pad", "a", 5),
        ],
    )


@change("rename a parameter")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, title: str) -> str: ...

    same = [works("'a'", "find", "a")]
    return Change(Served(Old), Served(New), same, same)


@change("reorder parameters of different types")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def repeat(self, text: str, times: int) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def repeat(self, times: int, text: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            fails(
                rpc.BadStubData, NOT_RUN, "Expected `str`, got `int` - at `text`", "repeat", 2, "a"
            )
        ],
        [
            fails(
                rpc.BadStubData, NOT_RUN, "Expected `int`, got `str` - at `times`", "repeat", "a", 2
            )
        ],
    )


@change("reorder parameters of the same type")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def copy(self, source: str, target: str) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def copy(self, target: str, source: str) -> str: ...

    return Change(
        Served(Old, copy=lambda source, target: f"from {source} to {target}"),
        Served(New, copy=lambda target, source: f"from {source} to {target}"),
        [silent("from to to from", "copy", "to", "from")],
        [silent("from to to from", "copy", "from", "to")],
    )


@change("remove a parameter without a default")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def make(self, name: str, size: int) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def make(self, name: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [fails(rpc.BadStubData, NOT_RUN, "needs 2", "make", "a")],
        [fails(rpc.BadStubData, NOT_RUN, "knows 1", "make", "a", 32)],
    )


@change("remove the last parameter, which has a default")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def make(self, name: str, size: int = 64) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def make(self, name: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [works("'a', 64", "make", "a")],
        [
            works("'a'", "make", "a", 64),
            fails(rpc.BadStubData, NOT_RUN, "knows 1", "make", "a", 32),
        ],
    )


@change("remove a parameter before others with a default")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def cut(self, text: str, start: int = 0, size: int = 80) -> str: ...
        @rpc.operation
        def pad(self, text: str, mark: str = " ", size: int = 80) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def cut(self, text: str, size: int = 80) -> str: ...
        @rpc.operation
        def pad(self, text: str, size: int = 80) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            silent("'a', 5, 80", "cut", "a", 5),
            fails(rpc.BadStubData, NOT_RUN, "Expected `str`, got `int`", "pad", "a", 5),
        ],
        [
            silent("'a', 1", "cut", "a", 1),
            fails(rpc.BadStubData, NOT_RUN, "knows 2", "cut", "a", 1, 5),
            fails(rpc.BadStubData, NOT_RUN, "Expected `int`, got `str`", "pad", "a", "-"),
        ],
    )


@change("give a parameter a default")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def make(self, name: str, size: int) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def make(self, name: str, size: int = 64) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            works("'a', 32", "make", "a", 32),
            # The default is omitted, whether it was passed or not.
            fails(rpc.BadStubData, NOT_RUN, "needs 2", "make", "a", 64),
        ],
        [works("'a', 64", "make", "a", 64)],
    )


@change("take the default of a parameter away")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def make(self, name: str, size: int = 64) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def make(self, name: str, size: int) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [works("'a', 64", "make", "a", 64)],
        [
            works("'a', 32", "make", "a", 32),
            fails(rpc.BadStubData, NOT_RUN, "needs 2", "make", "a", 64),
        ],
    )


@change("change a default")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def make(self, name: str, size: int = 64) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def make(self, name: str, size: int = 32) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [works("'a', 64", "make", "a", 64), silent("'a', 64", "make", "a", 32)],
        [works("'a', 32", "make", "a", 32), silent("'a', 32", "make", "a", 64)],
    )


@change("widen a parameter: `int` to `int` or `str`")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, key: int) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def find(self, key: int | str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            works("1", "find", 1),
            fails(rpc.BadStubData, NOT_RUN, "Expected `int`, got `str` - at `key`", "find", "a"),
        ],
        [works("1", "find", 1)],
    )


@change("widen a parameter: `int` to `int` or `None`")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, key: int) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def find(self, key: int | None) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            works("1", "find", 1),
            fails(rpc.BadStubData, NOT_RUN, "Expected `int`, got `None` - at `key`", "find", None),
        ],
        [works("1", "find", 1)],
    )


@change("widen a parameter: `int` to `float`")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def scale(self, by: int) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def scale(self, by: float) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [
            works("2", "scale", 2),
            fails(rpc.BadStubData, NOT_RUN, "Expected `int`, got `float` - at `by`", "scale", 2.0),
        ],
        [works("2.0", "scale", 2)],
    )


@change("narrow a parameter: `int` or `None` to `int`")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, key: int | None) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def find(self, key: int) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [works("1", "find", 1)],
        [
            works("1", "find", 1),
            fails(rpc.BadStubData, NOT_RUN, "Expected `int`, got `None` - at `key`", "find", None),
        ],
    )


@change("widen the result: `int` to `int` or `None`")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> int: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def find(self, name: str) -> int | None: ...

    return Change(
        Served(Old, find=1),
        Served(New, find={"a": 1}.get),
        [works(1, "find", "a")],
        [
            works(1, "find", "a"),
            fails(rpc.BadStubData, HAS_RUN, "Expected `int`, got `None`", "find", "b"),
        ],
    )


@change("narrow the result: `int` or `None` to `int`")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def find(self, name: str) -> int | None: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def find(self, name: str) -> int: ...

    return Change(
        Served(Old, find={"a": 1}.get),
        Served(New, find=1),
        [
            works(1, "find", "a"),
            fails(rpc.BadStubData, HAS_RUN, "Expected `int`, got `None`", "find", "b"),
        ],
        [works(1, "find", "a")],
    )


@change("add a result: `None` to `int`")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def store(self, name: str) -> None: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def store(self, name: str) -> int: ...

    return Change(
        Served(Old),
        Served(New, store=1),
        [fails(rpc.BadStubData, HAS_RUN, "Expected `int`, got `None`", "store", "a")],
        [fails(rpc.BadStubData, HAS_RUN, "Expected `null`, got `int`", "store", "a")],
    )
