"""Blocking calls between processes: with trio peers, killed peers, and Ctrl-C."""

from __future__ import annotations

import array
import logging
import time
from typing import Any

import pytest
import trio

from ipcpipes import Endpoint, blocking as streams, rpc
from ipcpipes.rpc import blocking

from .children import python_child
from .rpc_blocking_pairs import Calls, Gate, Manager, everything
from .threads import Worker, plain_child

_INTERFACE = """
import array
from typing import Any
from ipcpipes import rpc
from ipcpipes.rpc import blocking as calls
class Calls(rpc.Interface, uuid="7e0c2d3a-5b1f-4d0c-8b0e-1a2b3c4d5e6f", version=(1, 0)):
    @rpc.operation
    def plain(self, value: Any) -> Any: ...
    @rpc.operation
    def into(self, numbers: rpc.InPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def both(self, numbers: rpc.InOutPipe[rpc.int32]) -> Any: ...
"""

_names: dict[str, Any] = {}
exec(_INTERFACE, _names)
There: Any = _names["Calls"]

_CLIENT = (
    _INTERFACE
    + """
with calls.connect(Calls, sys.argv[1], wait=30) as client:
    assert client.plain(7) == 7
    numbers = array.array("i", range(300_000))
    assert client.into(numbers) == sum(numbers)
    memory = bytearray()
    client.both((numbers, memory))
    assert memory == bytes(numbers)
    try:
        client.plain("fail")
    except rpc.Fault as error:
        assert error.code == 77
    else:
        raise AssertionError
say("done")
"""
)

_SERVER = (
    _INTERFACE
    + """
class Manager(Calls):
    def plain(self, value):
        if value == "fail":
            raise rpc.Fault("as asked", code=77)
        return value
    def into(self, numbers):
        return sum(sum(chunk) for chunk in numbers)
    def both(self, numbers):
        chunks = [bytes(chunk) for chunk in numbers]
        for chunk in chunks:
            numbers.push(chunk)
        numbers.close()
with blocking.listen(sys.argv[1]) as listener:
    say("ready")
    threading.Thread(target=calls.serve, args=(Manager(), listener)).start()
    hear()
say("done")
"""
)


class UnderTrio(There):  # type: ignore[misc]  # exec() has made it
    async def plain(self, value: Any) -> Any:
        if value == "fail":
            raise rpc.Fault("as asked", code=77)
        return value

    async def into(self, numbers: Any) -> Any:
        return sum([sum(chunk) async for chunk in numbers])

    async def both(self, numbers: Any) -> Any:
        chunks = [bytes(chunk) async for chunk in numbers]
        for chunk in chunks:
            await numbers.push(chunk)
        await numbers.close()


async def test_a_blocking_client_of_a_trio_server(endpoint: Endpoint) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, UnderTrio(), endpoint)
        with plain_child(_CLIENT, endpoint.name) as child:
            assert await trio.to_thread.run_sync(child.hear) == "done"
            assert await trio.to_thread.run_sync(child.wait) == 0
        nursery.cancel_scope.cancel()


async def test_a_trio_client_of_a_blocking_server(endpoint: Endpoint) -> None:
    with plain_child(_SERVER, endpoint.name) as child:
        assert child.hear() == "ready"
        async with rpc.connect(There, endpoint) as client:
            assert await client.plain(7) == 7
            numbers = array.array("i", range(300_000))
            assert await client.into(numbers) == sum(numbers)
            memory = bytearray()
            await client.both((numbers, memory))
            assert memory == bytes(numbers)
            with pytest.raises(rpc.Fault) as found:
                await client.plain("fail")
            assert found.value.code == 77
            with trio.move_on_after(0.05) as scope:  # behaviour 68
                async with client.into.begin() as call:
                    await call.pipes["numbers"].push([1])
                    await call.complete()
            assert scope.cancelled_caught
            assert await client.plain(8) == 8
        child.say("enough")
        assert child.hear() == "done"
        assert child.wait() == 0


async def test_one_thread_and_a_full_trio_server_do_not_deadlock(endpoint: Endpoint) -> None:
    """Both ends send at once; neither may wait for the other without reading."""

    def play() -> None:
        with blocking.connect(There, endpoint) as client:
            answers = [client.plain.begin(bytes(2**19)).__enter__() for _ in range(10)]
            assert client.into(bytes(2**23)) == 0
            for call in answers:
                assert len(call.complete()) == 2**19
                call.__exit__(None, None, None)

    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, UnderTrio(), endpoint)
        with trio.fail_after(30):
            await trio.to_thread.run_sync(play, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


async def test_45_a_killed_server_fails_the_call(endpoint: Endpoint) -> None:
    program = """
        class Manager(Calls):
            async def plain(self, value): ...
            async def both(self, numbers): ...
            async def into(self, numbers):
                await numbers.pull()
                say("in the middle")
                await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc.serve, Manager(), sys.argv[1])
            say("ready")
    """

    def play() -> None:
        with blocking.connect(There, endpoint) as client:
            with pytest.raises(rpc.CommFailure), client.into.begin() as call:
                call.pipes["numbers"].push([1])
                assert child.hear() == "in the middle"
                child.kill()
                while True:
                    call.pipes["numbers"].push(bytes(2**16))
            with pytest.raises(rpc.RpcError) as found:
                client.plain(1)
            assert found.value.code in (1820, 1722)

    text = _INTERFACE.replace("\n", "\n        ") + program
    with python_child(text, endpoint.name) as child:
        assert child.hear() == "ready"
        await trio.to_thread.run_sync(play)
    streams.listen(endpoint).close()  # removes the socket file of the killed process


def test_45_a_killed_client_fails_the_pipes_of_the_manager(endpoint: Endpoint) -> None:
    program = """
with calls.connect(Calls, sys.argv[1]) as client, client.into.begin() as call:
    call.pipes["numbers"].push([1])
    say("in the middle")
    hear()
"""
    told: list[str] = []
    first = Gate()

    class Here(There):  # type: ignore[misc]
        def plain(self, value: Any) -> Any: ...
        def both(self, numbers: Any) -> Any: ...
        def into(self, numbers: Any) -> Any:
            assert list(numbers.pull()) == [1]
            first.open()
            try:
                everything(numbers)
            except rpc.CommFailure as error:
                told.append(type(error).__name__)
                raise

    listener = streams.listen(endpoint)
    server = Worker(blocking.serve, Here(), listener)
    with plain_child(_INTERFACE + program, endpoint.name) as child:
        assert child.hear() == "in the middle"
        first.wait()
        child.kill()
    listener.close()
    server.result()
    assert told == ["CommFailure"]


_INTERRUPTED = (
    _INTERFACE
    + """
import _thread, os, signal
def interrupt():
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        os.kill(os.getpid(), signal.SIGINT)
def interrupted(operation, *arguments):
    timer = threading.Timer(0.2, interrupt)
    timer.start()
    try:
        operation(*arguments)
    except KeyboardInterrupt:
        return True
    finally:
        timer.join()
    return False
with calls.connect(Calls, sys.argv[1]) as client:
    assert interrupted(client.plain, "wait")
    assert client.plain(1) == 1
    with client.plain.begin("wait") as call:
        assert interrupted(call.complete)
    assert client.plain(2) == 2
    assert interrupted(client.into, bytes(2**24))
    assert client.plain(3) == 3
    beside = threading.Thread(target=client.plain, args=("wait",))
    beside.start()
    assert interrupted(client.plain, "wait")
    assert client.plain("go") == "go"
    beside.join()
    assert client.plain(4) == 4
say("done")
"""
)


def test_ctrl_c_gives_up_a_call_and_keeps_the_connection(endpoint: Endpoint) -> None:
    let_go = Gate()
    told: list[int] = []

    class Here(There):  # type: ignore[misc]
        def plain(self, value: Any) -> Any:
            if value == "go":
                let_go.open()
            while value == "wait" and not let_go.is_open:
                if rpc.current_call().test_cancel():
                    told.append(1)
                    return None
                let_go.opens_within(0.01)
            return value

        def both(self, numbers: Any) -> Any: ...
        def into(self, numbers: Any) -> Any:
            numbers.pull()
            while not rpc.current_call().test_cancel():
                let_go.opens_within(0.01)
            numbers.pull()

    listener = streams.listen(endpoint)
    server = Worker(blocking.serve, Here(), listener)
    with plain_child(_INTERRUPTED, endpoint.name) as child:
        assert child.hear() == "done"
        assert child.wait() == 0
    listener.close()
    server.result()
    assert len(told) >= 2


def test_ctrl_c_ends_a_server(endpoint: Endpoint) -> None:
    program = """
import _thread, os, signal
def interrupt():
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        # A terminal signals the process, and the system may deliver that to another thread.
        # Then nothing wakes Python's main thread from its wait.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
class Manager(Calls):
    def plain(self, value):
        if value == 1:
            interrupt()
    def both(self, numbers): ...
    def into(self, numbers): ...
say("ready")
try:
    calls.serve(Manager(), sys.argv[1])
except KeyboardInterrupt:
    say("interrupted")
"""
    with plain_child(_INTERFACE + program.replace('say("ready")', ""), endpoint.name) as child:
        with blocking.connect(There, endpoint, wait=30) as client:
            # Python notices a signal that arrives between its check for signals and the wait only
            # after the wait.
            time.sleep(0.3)
            try:
                client.plain(1)
                while True:
                    client.plain(2)
            except (rpc.CommFailure, rpc.ServerUnavailable):
                pass
        assert child.hear() == "interrupted"
        assert child.wait() == 0


def test_a_parent_serves_a_child_over_its_stream() -> None:
    import sys

    program = """
import sys
from ipcpipes import blocking
with calls.bind(Calls, blocking.parent_stream()) as client:
    assert client.plain(5) == 5
    assert client.into([1, 2]) == 3
"""

    class Here(There):  # type: ignore[misc]
        def plain(self, value: Any) -> Any:
            return value

        def both(self, numbers: Any) -> Any: ...
        def into(self, numbers: Any) -> Any:
            return sum(everything(numbers))

    with streams.open_child([sys.executable, "-c", _INTERFACE + program]) as child:
        blocking.serve_connection(Here(), child.stream)
        assert child.wait(timeout=30) == 0


def test_a_blocking_server_offers_introspection(caplog: pytest.LogCaptureFixture) -> None:
    from ipcpipes.rpc.definition.introspection import Introspection

    listener = streams.listen(Endpoint.named("introspected"))
    server = Worker(blocking.serve, Manager(), listener, introspection=True)
    with caplog.at_level(logging.CRITICAL):
        with blocking.connect(Introspection, listener.endpoint) as client:
            (found,) = client.interfaces()
    assert found.name == Calls.__name__
    listener.close()
    server.result()
