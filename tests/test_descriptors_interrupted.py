"""Descriptors over streams: cancellation, closing, timeouts and signals lose none."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes.testing import unique_endpoint

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from . import drivers
from .descriptors import PAIRS, close_all, connected, raw, watched
from .pairs import clog, stream_pair
from .processes import SECONDS
from .programs import blocking_program
from .threads import Worker, stream_pair as blocking_pair


@pytest.fixture(params=PAIRS)
async def pair(request: pytest.FixtureRequest) -> Any:
    left, right = await connected(request.param)
    async with left, right:
        yield left, right


def clog_socket(end: socket.socket) -> None:
    """Fills the system's buffer, without waiting."""
    for size in (65536, 1):
        with suppress(BlockingIOError):
            while True:
                end.send(bytes(size), socket.MSG_DONTWAIT)


async def test_a_cancelled_receive_loses_no_descriptor(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(right.receive_descriptors)
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()
        await left.send_descriptors(b"x", [pipe])
        with trio.CancelScope() as scope:
            scope.cancel()
            await right.receive_descriptors()
        assert scope.cancelled_caught
        data, numbers = await right.receive_descriptors()
        assert data == b"x"
        assert pipe.comes_through(*numbers)
        close_all(numbers)


async def test_every_call_is_a_checkpoint() -> None:
    left, right = await stream_pair()
    async with left, right:
        with watched() as pipe:
            with trio.testing.assert_checkpoints():
                await left.send_descriptors(b"x", [pipe])
            with trio.testing.assert_checkpoints():
                _, numbers = await right.receive_descriptors()
            close_all(numbers)


async def test_a_send_cancelled_before_its_first_byte_has_sent_nothing() -> None:
    left, right = await stream_pair()
    async with left, right:
        with watched() as pipe:
            with trio.CancelScope() as scope:
                scope.cancel()
                await left.send_descriptors(b"not this", [pipe])
            assert scope.cancelled_caught
            clog(left)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(left.send_descriptors, b"nor this", [pipe])
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await left.send_descriptors(b"x", [pipe])
                with pytest.raises(trio.BusyResourceError):
                    await left.send_all(b"x")
                nursery.cancel_scope.cancel()
            pipe.close_here()
            assert not pipe.is_open_anywhere
            async with trio.open_nursery() as nursery:
                nursery.start_soon(left.send_all, b"but this")
                nursery.start_soon(_receive_until, right, b"but this")


async def _receive_until(stream: Any, tail: bytes) -> None:
    got = b""
    while not got.endswith(tail):
        data, numbers = await stream.receive_descriptors()
        assert not numbers
        got = (got + data)[-100:]
    assert got == bytes(100 - len(tail)) + tail


async def test_a_send_cancelled_half_way_leaves_the_stream_broken() -> None:
    left, right = await stream_pair()
    async with left, right:
        with watched() as pipe:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(left.send_descriptors, bytes(5_000_000), [pipe])
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            for send in (left.send_all(b"x"), left.send_descriptors(b"x", [pipe])):
                with pytest.raises(trio.BrokenResourceError, match="cancelled after"):
                    await send
            _, numbers = await right.receive_descriptors()
            assert pipe.comes_through(*numbers), "they went with the first byte"
            close_all(numbers)


async def test_a_waiting_send_continues_when_there_is_room(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        with raw(left) as socket_of_left:
            clog_socket(socket_of_left)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send_descriptors, b"z" * 100_000, [pipe])
            await trio.testing.wait_all_tasks_blocked(0.01)
            got, numbers = 0, []
            while got < 100_000:
                data, some = await right.receive_descriptors()
                got += data.count(b"z")
                numbers += some
        assert pipe.comes_through(*numbers)
        close_all(numbers)


async def test_closing_wakes_waiting_operations() -> None:
    left, right = await stream_pair()
    async with left, right:
        clog(left)
        with watched() as pipe:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_raises_closed, partial(left.send_descriptors, b"x", [pipe]))
                nursery.start_soon(_raises_closed, left.receive_descriptors)
                await trio.testing.wait_all_tasks_blocked()
                await left.aclose()


async def _raises_closed(operation: Any) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await operation()


async def test_an_exception_between_two_steps_closes_the_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ipcpipes._os.posix import passing as posix_descriptors

    left, right = await stream_pair()
    both = await connected((drivers, drivers))
    async with left, right, both[0], both[1]:
        receive = posix_descriptors.IncomingDescriptors.receive

        def interrupted(incoming: Any, fd: int) -> bytes:
            receive(incoming, fd)
            raise KeyboardInterrupt

        monkeypatch.setattr(posix_descriptors.IncomingDescriptors, "receive", interrupted)
        for sender, receiver in ((left, right), both):
            with watched() as pipe:
                await sender.send_descriptors(b"x", [pipe] * 3)
                pipe.close_here()
                try:
                    await receiver.receive_descriptors()
                except KeyboardInterrupt:
                    pass
                else:
                    raise AssertionError("nothing was raised")
                assert not pipe.is_open_anywhere


def test_a_timeout_before_the_first_byte_has_sent_nothing() -> None:
    client, server = blocking_pair()
    with client, server, watched() as pipe:
        with pytest.raises(TimeoutError, match="nothing was received"):
            server.receive_descriptors(timeout=0)
        with raw(client) as end:
            clog_socket(end)
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match="not all could be sent"):
                client.send_descriptors(b"not this", [pipe], timeout=timeout)
        pipe.close_here()
        assert not pipe.is_open_anywhere
        data = server.receive_some(10**6)
        client.send_all(b"but this")
        while not data.endswith(b"but this"):
            data += server.receive_some()
        assert data == bytes(len(data) - 8) + b"but this"


def test_a_sending_thread_raises_when_another_thread_closes() -> None:
    with watched() as pipe:
        for _ in range(100):
            client, server = blocking_pair()
            with client, server:
                worker = Worker(_send_until_closed, client, pipe)
                server.receive_some()
                client.close()
                worker.result()


def _send_until_closed(stream: Any, pipe: Any) -> None:
    with pytest.raises(trio.ClosedResourceError):
        while True:
            stream.send_descriptors(b"x", [pipe])


def test_a_timeout_half_way_leaves_the_stream_broken() -> None:
    client, server = blocking_pair()
    with client, server, watched() as pipe:
        with pytest.raises(TimeoutError, match="not all could be sent"):
            client.send_descriptors(bytes(5_000_000), [pipe], timeout=0.01)
        with pytest.raises(trio.BrokenResourceError, match="interrupted after"):
            client.send_descriptors(b"x", [pipe])
        _, numbers = server.receive_descriptors()
        assert pipe.comes_through(*numbers), "they went with the first byte"
        close_all(numbers)


def test_a_raising_signal_handler_ends_a_waiting_operation() -> None:
    program = blocking_program(
        """
        import signal, trio
        class Alarm(Exception): ...
        def ring(*_):
            raise Alarm
        signal.signal(signal.SIGALRM, ring)
        def rings(operation, *arguments, **options):
            # After a while, so that the operation is waiting by then.
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            try:
                operation(*arguments, **options)
            except Alarm:
                return True
        with blocking.listen(sys.argv[1]) as listener:
            client, server = blocking.connect(sys.argv[1]), listener.accept()
        with client, server:
            for timeout in (None, 30):
                assert rings(client.receive_descriptors, timeout=timeout)
            server.send_descriptors(b"nothing is lost", [1, 2])
            data, numbers = client.receive_descriptors()
            assert (data, len(numbers)) == (b"nothing is lost", 2)
            for timeout, sender in {None: client, 30: server}.items():
                assert rings(sender.send_descriptors, bytes(10_000_000), [1], timeout=timeout)
                try:
                    sender.send_all(b"x")
                except trio.BrokenResourceError as error:
                    assert "interrupted after" in str(error)
                else:
                    raise AssertionError("a part went out")
        say("done")
        """,
        str(unique_endpoint().name),
    )
    result = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (result.stdout, result.stderr) == ("done\n", "")
