"""The errors at each end after a failure in the middle of a pipe (behaviours 41 to 45)."""

from __future__ import annotations

import contextlib
import pickle
import re
import sys
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc.wire.bodies import decode_fault, encode_body
from ipcpipes.rpc.wire.format import Kind, decode, encode

from .children import python_child
from .rpc_over_links import (
    FIND_TESTS,
    SECONDS,
    Witness,
    call_failed,
    calling,
    comm_failure,
    empty,
    memory,
    serving,
    unavailable,
)
from .rpc_over_managers import Calls, Scripted, drained, given_back, pushed

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def test_41_the_first_swallowed_error_is_reported() -> None:
    async def into_out(source: Any, sink: Any) -> None:
        await drained(source)
        for attempt in (source.pull, sink.close, sink.close, source.pull):
            with contextlib.suppress(rpc.PipeError):
                await attempt()

    async with calling(into_out=into_out) as acc:
        with empty():
            await acc.into_out(source=[], sink=[])


async def test_42_a_reraised_pipe_error_keeps_its_code() -> None:
    async def into(numbers: Any) -> None:
        await drained(numbers)
        await numbers.pull()

    async with calling(into=into) as acc:
        with empty() as caught:
            await acc.into(numbers=[1])
        assert "pipe numbers of Calls.into" in caught.value.message
        assert caught.value.traceback is None


async def test_42_in_a_group_it_keeps_its_code() -> None:
    async def into(numbers: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(numbers.pull, 1)
            nursery.start_soon(drained_twice, numbers)

    async def drained_twice(numbers: Any) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await drained(numbers)
        await drained(numbers)

    async with calling(into=into) as acc:
        with empty():
            await acc.into(numbers=[1])


async def test_42_another_error_in_the_group_is_a_fault() -> None:
    async def into(numbers: Any) -> None:
        await drained(numbers)
        try:
            await numbers.pull()
        except rpc.PipeEmpty as error:
            raise ExceptionGroup("two", [error, ValueError("mine")]) from None

    async with calling(into=into) as acc:
        with call_failed() as caught:
            await acc.into(numbers=[1])
        assert caught.value.type.endswith("ExceptionGroup")


async def test_43_data_before_the_error_can_be_pulled() -> None:
    async def out(numbers: Any) -> None:
        await numbers.push([1, 2])
        raise rpc.Fault("enough", code=77)

    async with calling(out=out) as acc:
        async with acc.out.begin() as call:
            numbers = call.pipes["numbers"]
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert list(await numbers.pull(1)) == [1]
            assert list(await numbers.pull(1)) == [2]
            for attempt in (numbers.pull, call.complete):
                with pytest.raises(rpc.Fault, match="enough") as caught:
                    await attempt()
                assert caught.value.code == 77


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("kind", [OSError, rpc.Fault, rpc.PipeAppMemory])
async def test_44_a_pull_function_that_raises(kind: type[Exception], begun: bool) -> None:
    manager = Witness()

    async def into(numbers: Any) -> None:
        with manager.watching():
            await drained(numbers)

    def pull(most: int) -> list[int]:
        if manager.began.is_set():
            raise kind("the disk is gone")
        return [1]

    async with calling(into=into, plain=given_back) as acc:
        with pytest.raises(kind, match="the disk is gone"):
            if begun:
                async with acc.into.begin(numbers=pull) as call:
                    await call.complete()
            else:
                await acc.into(numbers=pull)
        await manager.raised(rpc.CallCancelled)
        assert await acc.plain(1) == 1


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("kind", [OSError, rpc.Fault])
async def test_44_a_push_function_that_raises(kind: type[Exception], begun: bool) -> None:
    manager = Witness()

    async def out(numbers: Any) -> None:
        with manager.watching():
            while True:
                await numbers.push(bytes(4096))

    def push(chunk: Any) -> None:
        raise kind("the disk is full")

    async with calling(out=out, plain=given_back) as acc:
        with pytest.raises(kind, match="the disk is full"):
            if begun:
                async with acc.out.begin(numbers=push) as call:
                    await call.complete()
            else:
                await acc.out(numbers=push)
        with trio.fail_after(SECONDS):
            await manager.ended.wait()
        assert isinstance(manager.error, (rpc.CallCancelled, trio.Cancelled))
        assert await acc.plain(1) == 1


async def test_44_a_memory_error_in_a_begun_call_fails_it() -> None:
    manager = Witness()

    async def out(numbers: Any) -> None:
        with manager.watching():
            while True:
                await numbers.push(bytes(4096))

    async with calling(out=out) as acc:
        control = rpc.PipeControl(push=print, alloc=lambda size: bytearray())
        async with acc.out.begin(numbers=control) as call:
            with memory():
                await call.complete()
        with trio.fail_after(SECONDS):
            await manager.ended.wait()


async def test_45_the_death_of_a_client_is_not_the_end_of_a_pipe(
    endpoint: ipcpipes.Endpoint,
) -> None:
    program = f"""
        {FIND_TESTS}
        from ipcpipes import rpc
        from tests.rpc_over_managers import Calls
        async with rpc.connect(Calls, sys.argv[1]) as acc:
            async with acc.into.begin() as call:
                await call.pipes["numbers"].push([1, 2, 3])
                await hear_async()
    """
    manager = Witness()
    pulled: list[int] = []

    async def into(numbers: Any) -> None:
        with manager.watching():
            async for chunk in numbers:
                pulled.extend(chunk)

    async with serving(Scripted(into=into)) as listener:
        with python_child(program, listener.endpoint.name) as child:
            with trio.fail_after(SECONDS):
                while pulled != [1, 2, 3]:
                    await trio.sleep(0.005)
            child.kill()
            await manager.raised(rpc.CommFailure)


SERVER = f"""
    {FIND_TESTS}
    from ipcpipes import rpc
    from tests.rpc_over_managers import Scripted
    async def out(numbers):
        await numbers.push([1, 2, 3])
        await trio.sleep_forever()
    async def into(numbers):
        await numbers.pull()
        await trio.sleep_forever()
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, [Scripted(out=out, into=into)], sys.argv[1])
        say("there")
"""


async def test_45_the_death_of_a_server_is_not_the_end_of_a_pipe(
    endpoint: ipcpipes.Endpoint,
) -> None:
    got: list[int] = []
    with python_child(SERVER, endpoint.name) as child:
        assert child.hear() == "there"
        with trio.fail_after(SECONDS):
            async with rpc.connect(Calls, endpoint, wait=5) as acc:

                async def into_forever() -> None:
                    with comm_failure():
                        await acc.into(numbers=rpc.feed(lambda most: bytes(4 * most)))

                async def out_forever() -> None:
                    with comm_failure():
                        await acc.out(numbers=rpc.drain(got))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(into_forever)
                    nursery.start_soon(out_forever)
                    while got != [1, 2, 3]:
                        await trio.sleep(0.005)
                    child.kill()
                with unavailable():
                    await acc.plain(1)
    await cleared(endpoint)


async def cleared(endpoint: ipcpipes.Endpoint) -> None:
    """The files of a killed server are taken over and removed."""
    async with await ipcpipes.listen(endpoint):
        pass


async def test_45_received_data_can_be_pulled_before_the_failure(
    endpoint: ipcpipes.Endpoint,
) -> None:
    with python_child(SERVER, endpoint.name) as child:
        assert child.hear() == "there"
        with trio.fail_after(SECONDS):
            async with rpc.connect(Calls, endpoint, wait=5) as acc:
                async with rpc.operation_of(acc.out).begin() as call:
                    numbers = call.pipes["numbers"]
                    assert list(await numbers.pull(1)) == [1]
                    child.kill()
                    assert list(await numbers.pull()) == [2, 3]
                    for attempt in (numbers.pull, numbers.pull, call.complete):
                        with comm_failure():
                            await attempt()
    await cleared(endpoint)


async def test_a_failed_manager_affects_no_other_call() -> None:
    async def out(numbers: Any) -> None:
        raise LookupError("no more")

    async with calling(out=out, into=drained, plain=given_back) as acc:
        async with acc.into.begin() as call:
            with call_failed():
                await acc.out(numbers=[])
            await pushed(call.pipes["numbers"], [1, 2])
            assert await call.complete() == [1, 2]
        assert await acc.plain(3) == 3


# The codes of failures.


@pytest.mark.parametrize("code", [0, -1, 2**32, 2**70, True, 1.5, "5", b"5"])
def test_a_code_out_of_range_is_refused(code: Any) -> None:
    for kind in (rpc.Fault, rpc.RpcError, rpc.CallCancelled):
        with pytest.raises(ValueError, match=r"^the code of a failure is 1 to 2\*\*32 - 1, not "):
            kind("no", code=code)


class Status(IntEnum):
    NOT_FOUND = 404


async def test_a_manager_can_choose_any_code() -> None:
    async def plain(value: Any) -> Any:
        raise rpc.Fault("as asked", code=Status.NOT_FOUND if value == 404 else value)

    async with calling(plain=plain) as acc:
        for code in (1, 404, 2**31, 2**32 - 1):
            with pytest.raises(rpc.Fault, match=r"^as asked$") as caught:
                await acc.plain(code)
            assert (caught.value.code, type(caught.value.code)) == (code, int)
        # This is the manager's own mistake, and is reported as one.
        with call_failed() as failed:
            await acc.plain(0)
        assert failed.value.type == "ValueError"
        assert failed.value.message == "the code of a failure is 1 to 2**32 - 1, not 0"


def test_an_invalid_code_from_the_peer_is_replaced() -> None:
    def received(code: int, message: str) -> rpc.RpcError:
        body = encode_body({"code": code, "message": message})
        return decode_fault(decode(encode(Kind.FAULT, 1, body)), {})

    for code in (0, -1, 2**32):
        error = received(code, "odd")
        assert (type(error), error.code, error.message) == (rpc.Fault, 1726, "odd")
    assert type(received(1831, "order")) is rpc.WrongPipeOrder
    assert received(77, "mine").code == 77


# The taxonomy.

BUILTINS: dict[type[rpc.RpcError], type[Exception] | None] = {
    rpc.AsyncCallPending: BlockingIOError,
    rpc.BadStubData: ValueError,
    rpc.BindTimeout: TimeoutError,
    rpc.CallCancelled: None,  # there is no such exception
    rpc.CallTimedOut: TimeoutError,
    rpc.CommFailure: ConnectionError,
    rpc.Fault: RuntimeError,
    rpc.InvalidAsyncCall: RuntimeError,
    rpc.InvalidAsyncHandle: RuntimeError,
    rpc.InvalidBound: ValueError,
    rpc.NoCallActive: RuntimeError,
    rpc.PipeAppMemory: BufferError,
    rpc.PipeClosed: RuntimeError,
    rpc.PipeDisciplineError: RuntimeError,
    rpc.PipeEmpty: EOFError,
    rpc.ProcnumOutOfRange: LookupError,
    rpc.ProtocolError: ConnectionError,
    rpc.ServerTooBusy: BlockingIOError,
    rpc.ServerUnavailable: ConnectionError,
    rpc.StreamStopped: BrokenPipeError,
    rpc.UnknownInterface: LookupError,
    rpc.WrongPipeOrder: RuntimeError,
    rpc.WrongPipeVersion: LookupError,
}


def test_every_class_has_its_place_in_the_taxonomy() -> None:
    classes = {
        one for one in vars(rpc).values() if isinstance(one, type) and issubclass(one, rpc.RpcError)
    }
    assert classes - {rpc.RpcError, rpc.PipeError} == set(BUILTINS)


@pytest.mark.parametrize(("kind", "builtin"), BUILTINS.items())
def test_each_error_is_also_the_builtin_that_fits(
    kind: type[rpc.RpcError], builtin: type[Exception] | None
) -> None:
    error = kind("what happened", code=5, type="Other", traceback="where")
    assert isinstance(error, ipcpipes.IpcError)
    found = [one for one in kind.__bases__ if one.__module__ == "builtins"]
    assert found == ([] if builtin is None else [builtin])
    if isinstance(error, OSError):
        assert isinstance(error.errno, int)
        assert error.strerror == "what happened"
    for copy in (error, error.again(), pickle.loads(pickle.dumps(error))):
        assert type(copy) is kind
        assert (copy.message, copy.code, copy.type) == ("what happened", 5, "Other")
        assert (copy.traceback, str(copy)) == ("where", "Other: what happened")
        assert getattr(copy, "errno", None) == getattr(error, "errno", None)


def test_only_errors_of_pipes_are_pipe_errors() -> None:
    assert set(rpc.PipeError.__subclasses__()) == {
        rpc.InvalidBound,
        rpc.PipeAppMemory,
        rpc.PipeClosed,
        rpc.PipeDisciplineError,
        rpc.PipeEmpty,
        rpc.WrongPipeOrder,
        rpc.WrongPipeVersion,
    }


def test_the_guide_names_the_same_builtins() -> None:
    guide = Path(__file__).resolve().parent.parent / "docs" / "rpc-operations.md"
    if not guide.exists():
        pytest.skip("the documents are not beside the tests")
    rows = re.findall(
        r"^\| `(\w+)` \| (`\w+`(?:, `\w+`)*) \|$", guide.read_text("utf-8"), re.MULTILINE
    )
    found = {name: builtin for builtin, names in rows for name in re.findall(r"\w+", names)}
    assert found == {
        kind.__name__: builtin.__name__ for kind, builtin in BUILTINS.items() if builtin
    }
