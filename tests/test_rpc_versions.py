"""Ends of different minor versions: common operations work, and missing ones raise an error."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.arguments import encode_arguments

from .rpc_both_drivers import DRIVERS, connected, served
from .rpc_over_links import bad_stub_data, failing

UUID = "1d6c6d4e-7d1f-4a1c-8d7e-91a7a5d1b9e3"
SERVERS = "the server has version 1.0, and this client has version 1.2"
CLIENTS = "this server has version 1.0, and the client has version 1.2"


class Old(rpc.Interface, uuid=UUID, version=(2, 1)):
    """The first version, which is still in use."""

    @rpc.operation
    def greet(self, name: str) -> str: ...
    @rpc.operation
    def scaled(self, numbers: rpc.InPipe[rpc.int32], by: int) -> int: ...
    @rpc.operation
    def dropped(self) -> str: ...
    @rpc.operation
    def repiped(self, numbers: rpc.InPipe[rpc.int32]) -> int: ...


class New(rpc.Interface, uuid=UUID, version=(2, 3)):
    """The second version: with a new operation and new parameters."""

    @rpc.operation
    def added(self) -> str: ...
    @rpc.operation
    def greet(
        self,
        name: str,
        loudly: bool = False,
        times: int = 1,
        titles: list[str] = [],  # noqa: B006
    ) -> str: ...
    @rpc.operation
    def scaled(self, numbers: rpc.InPipe[rpc.int32], by: int, plus: float = 0.5) -> int: ...
    @rpc.operation
    def repiped(self, numbers: rpc.InPipe[rpc.int64]) -> int: ...


class OldManager(Old):
    def greet(self, name: str) -> str:
        return f"hello {name}"

    def dropped(self) -> str:
        return "still here"


class NewManager(New):
    def added(self) -> str:
        return "new"

    def greet(self, name: str, loudly: Any = 0, times: int = 0, titles: Any = ()) -> str:
        titles.append(name)
        return ("HELLO " if loudly else "hello ") * times + " ".join(titles)


class AsyncPipes:
    """The asynchronous pipe methods, for servers under trio."""

    async def scaled(self, numbers: Any, by: int, plus: float = 0.5) -> int:
        return by * sum([sum(chunk) async for chunk in numbers])

    async def repiped(self, numbers: Any) -> int:
        raise NotImplementedError


class ThreadPipes:
    def scaled(self, numbers: Any, by: int, plus: float = 0.5) -> int:
        return by * sum(sum(chunk) for chunk in numbers)

    def repiped(self, numbers: Any) -> int:
        raise NotImplementedError


def manager_of(driver: str, manager: type[rpc.Interface]) -> rpc.Interface:
    pipes: type = AsyncPipes if driver == "trio" else ThreadPipes
    if manager is OldManager:
        # The old server has one parameter less.
        if driver == "trio":

            async def scaled(self: Any, numbers: Any, by: int) -> int:
                return await AsyncPipes().scaled(numbers, by)
        else:

            def scaled(self: Any, numbers: Any, by: int) -> int:  # type: ignore[misc]
                return ThreadPipes().scaled(numbers, by)

        members = {"scaled": scaled, "repiped": pipes.repiped}  # type: ignore[attr-defined]
    else:
        members = {"scaled": pipes.scaled, "repiped": pipes.repiped}  # type: ignore[attr-defined]
    made: Any = type("Manager", (manager,), members)
    one = made()
    assert isinstance(one, rpc.Interface)
    return one


BOTH = pytest.mark.parametrize(
    ("server", "client"), [(server, client) for server in DRIVERS for client in DRIVERS]
)


@BOTH
def test_a_new_client_can_use_an_old_server(server: str, client: str) -> None:
    with (
        served(server, manager_of(server, OldManager)) as endpoint,
        connected(client, New, endpoint) as acc,
    ):
        assert acc.client.server_version == (2, 1)
        assert [acc.client.has(name) for name in ("greet", "scaled", "added", "repiped")] == [
            True,
            True,
            False,
            False,  # the pipes differ
        ]
        assert acc.client.has("dropped")  # although this client cannot call it
        assert not acc.client.has("no such thing")
        # An argument that equals its default is omitted, whether it was passed or not.
        assert acc.call("greet", "you") == "hello you"
        assert acc.call("greet", "you", False, times=1, titles=[]) == "hello you"
        assert acc.call("scaled", [1, 2], 3) == 9
        assert acc.call("scaled", [1, 2], 3, 0.5) == 9
        with failing(rpc.ProcnumOutOfRange, 1745, 0x1C010002) as caught:
            acc.call("added")
        assert caught.value.message == (
            "the server's New has no added: the server has version 2.1, and this client has "
            "version 2.3"
        )
        with failing(rpc.WrongPipeVersion, 1832):
            acc.call("repiped", [1])
        # An argument that the old server does not know is sent, and refused.
        with bad_stub_data() as refused:
            acc.call("greet", "you", True)
        assert "Old.greet" in refused.value.message
        assert refused.value.message.endswith(
            "the client sent 2 arguments, and this server (version 2.1) knows 1"
        )
        assert acc.call("greet", "you") == "hello you"


@BOTH
def test_an_old_client_can_use_a_new_server(server: str, client: str) -> None:
    with (
        served(server, manager_of(server, NewManager)) as endpoint,
        connected(client, Old, endpoint) as acc,
    ):
        assert acc.client.server_version == (2, 3)
        assert acc.client.has("added")
        assert acc.client.has("greet")
        assert not acc.client.has("dropped")
        for _ in range(2):
            assert acc.call("greet", "you") == "hello you"
        assert acc.call("scaled", [1, 2], 3) == 9
        with failing(rpc.ProcnumOutOfRange, 1745, 0x1C010002) as caught:
            acc.call("dropped")
        assert caught.value.message == (
            "the server's Old has no dropped: the server has version 2.3, and this client has "
            "version 2.1"
        )


@BOTH
def test_ends_of_one_version_know_all_operations(server: str, client: str) -> None:
    with (
        served(server, manager_of(server, NewManager)) as endpoint,
        connected(client, New, endpoint) as acc,
    ):
        assert acc.client.server_version == (2, 3)
        assert acc.client.has("added")
        assert acc.call("added") == "new"
        assert acc.call("greet", "you", True, 2, ["sir"]) == "HELLO HELLO sir you"
        assert acc.call("greet", "you", times=2) == "hello hello you"
        assert acc.call("greet", "you", titles=["sir"]) == "hello sir you"


class Before(rpc.Interface, uuid=UUID, version=(1, 0)):
    @rpc.operation
    def take(self, number: int) -> None: ...
    @rpc.operation
    def give(self) -> int: ...
    @rpc.operation
    def pair(self, left: int, right: int, more: int = 0) -> None: ...
    @rpc.operation
    def fill(self, numbers: rpc.InPipe[rpc.int32]) -> None: ...
    @rpc.operation
    def note(self) -> None: ...


class BeforeManager(Before):
    def take(self, number: int) -> None: ...
    def give(self) -> int:
        return 1

    def pair(self, left: int, right: int, more: int = 0) -> None: ...
    def note(self) -> None:
        raise AssertionError("it is called")


class After(rpc.Interface, uuid=UUID, version=(1, 2)):
    @rpc.operation
    def take(self, number: Any) -> None: ...
    @rpc.operation
    def give(self) -> str: ...
    @rpc.operation
    def pair(self, left: int) -> None: ...
    @rpc.operation
    def fill(self, numbers: rpc.InPipe[rpc.int64]) -> None: ...
    @rpc.operation
    @rpc.options(maybe=True)
    def note(self) -> None: ...


def before(driver: str) -> rpc.Interface:
    if driver == "trio":

        async def fill(self: Any, numbers: Any) -> None: ...
    else:

        def fill(self: Any, numbers: Any) -> None: ...  # type: ignore[misc]

    made: Any = type("Manager", (BeforeManager,), {"fill": fill})
    manager: rpc.Interface = made()
    return manager


@BOTH
def test_errors_name_both_versions_if_they_differ(server: str, client: str) -> None:
    with served(server, before(server)) as endpoint:
        with connected(client, After, endpoint) as acc:
            with pytest.raises(rpc.BadStubData) as caught:
                acc.call("take", "a")
            assert caught.value.message == (
                f"Before.take: Expected `int`, got `str` - at `number`; {CLIENTS}"
            )
            with pytest.raises(rpc.BadStubData) as caught:
                acc.call("give")
            assert caught.value.message == (
                f"the result of After.give is not of its type: Expected `str`, got `int`; {SERVERS}"
            )
            with pytest.raises(rpc.WrongPipeVersion) as found:
                acc.call("fill", [])
            assert found.value.message == (
                "After.fill has the pipes (in int64) here and (in int32) at the server; " + SERVERS
            )
            with pytest.raises(rpc.BadStubData) as caught:
                acc.call("pair", 1)
            assert caught.value.message == (
                "Before.pair: the client sent 1 argument, and this server (version 1.0) needs 2"
            )
        with connected(client, Before, endpoint) as acc:
            with pytest.raises(rpc.BadStubData) as caught:
                acc.call("take", "a")
            assert caught.value.message == "Before.take: Expected `int`, got `str` - at `number`"


@BOTH
def test_the_server_says_once_that_it_drops_calls(
    server: str, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    with served(server, before(server)) as endpoint, connected(client, After, endpoint) as acc:
        for _ in range(3):
            acc.call("note")
        acc.call("take", 1)  # the server has had all of them
    (warning,) = [one.message for one in caplog.records if one.levelname == "WARNING"]
    assert warning == (
        "a call of a client was dropped: the client and the server differ about maybe=True for "
        f"Before.note; {CLIENTS}"
    )


def test_trailing_defaults_are_not_sent() -> None:
    class Defaults(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        def many(
            self,
            a: Any,
            b: Any = 1,
            c: Any = None,
            d: Any = (1.0,),
            e: Any = object(),  # noqa: B008
        ) -> None: ...

    operation = Defaults._rpc_definition.operations["many"]
    default = operation.defaults["e"]

    def sent(*values: Any) -> Any:
        return msgspec.msgpack.decode(encode_arguments(operation, values))

    assert sent(0, 1, None, (1.0,), default) == [0]  # which cannot be sent
    assert sent(0, 1, None, (1.0,)) == [0]
    assert sent(0, 2, None, (1.0,), default) == [0, 2]
    assert sent(0, 1, 3, (1.0,), default) == [0, 1, 3]
    assert sent(1, 1, None) == [1]  # this one has no default
    # Equal, but encoded differently.
    assert sent(0, True) == [0, True]
    assert sent(0, 1, None, (1,)) == [0, 1, None, [1]]
    assert sent(0, 1, None, [1.0]) == [0, 1, None, [1.0]]


@pytest.mark.parametrize("driver", DRIVERS)
def test_operations_hide_members_of_the_client(driver: str) -> None:
    class Names(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        def has(self, name: str) -> str: ...
        @rpc.operation
        def server_version(self) -> str: ...

    class NamesManager(Names):
        def has(self, name: str) -> str:
            return f"has {name}"

        def server_version(self) -> str:
            return "an operation"

    with served(driver, NamesManager()) as endpoint, connected(driver, Names, endpoint) as names:
        assert names.call("has", "it") == "has it"
        assert names.call("server_version") == "an operation"
