"""Descriptors over streams: they arrive with their bytes, and nothing else stays open."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes.abc import MOST_DESCRIPTORS
from ipcpipes.testing import memory_stream_pair, unique_endpoint

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from . import drivers
from .conftest import open_descriptors
from .descriptors import PAIRS, at_most_open, close_all, connected, raw, watched
from .pairs import clog, receive_exactly, stream_pair
from .processes import SECONDS
from .programs import blocking_program, trio_program
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


async def test_descriptors_arrive_in_order_with_their_bytes(pair: Any) -> None:
    left, right = pair
    with watched() as one, watched() as two, tempfile.TemporaryFile() as file:
        await left.send_descriptors(b"three", [one.end, two, file])
        data, numbers = await right.receive_descriptors()
        assert data == b"three"
        assert len(numbers) == 3
        assert one.comes_through(numbers[0])
        assert two.comes_through(numbers[1])
        assert os.path.sameopenfile(numbers[2], file.fileno())
        for number in numbers:
            assert not os.get_inheritable(number), "they are close-on-exec"
        close_all(numbers)
        assert one.comes_through(one.end), "the sender's own stay open"
    await right.send_all(b"as ever")
    assert await receive_exactly(left, 7) == b"as ever"


async def test_bytes_without_descriptors_give_an_empty_list(pair: Any) -> None:
    left, right = pair
    await left.send_all(b"abcdef")
    assert await right.receive_descriptors(4) == (b"abcd", [])
    assert await right.receive_descriptors(None, 1) == (b"ef", [])
    await left.aclose()
    for _ in range(2):
        assert await right.receive_descriptors() == (b"", [])


async def test_one_receive_returns_the_descriptors_of_one_send(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await left.send_all(b"before")
        await left.send_descriptors(b"a", [pipe])
        await left.send_all(b"between")
        await left.send_descriptors(bytearray(b"b"), [pipe, pipe])
        await left.send_descriptors(memoryview(b"c"), [pipe])
        await left.send_all(b"after")
        await left.aclose()
        received, batches = b"", []
        while True:
            data, numbers = await right.receive_descriptors()
            if not data:
                break
            received += data
            if numbers:
                batches.append(len(numbers))
            close_all(numbers)
        assert received == b"beforeabetweenbcafter"
        assert batches == [1, 2, 1]


async def test_up_to_253_descriptors_can_be_sent_at_once(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await left.send_descriptors(b"x", [pipe] * MOST_DESCRIPTORS)
        data, numbers = await right.receive_descriptors()
        close_all(numbers)
        assert (data, len(numbers), len(set(numbers))) == (b"x", 253, 253)
        with pytest.raises(ValueError, match="1 to 253 descriptors can be sent at once, not 254"):
            await left.send_descriptors(b"x", [pipe] * (MOST_DESCRIPTORS + 1))
        await left.send_all(b"y")
        assert await right.receive_descriptors() == (b"y", [])


async def test_only_the_first_byte_of_a_large_send_carries_descriptors(pair: Any) -> None:
    left, right = pair
    data = bytes(range(256)) * 8192
    got, numbers = bytearray(), []
    with watched() as pipe:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send_descriptors, memoryview(data), [pipe])
            while len(got) < len(data):
                part, some = await right.receive_descriptors()
                got += part
                numbers += some
        assert got == data
        (number,) = numbers
        assert pipe.comes_through(number)
        os.close(number)


@pytest.mark.parametrize("way", ["some", "into"])
async def test_receive_some_and_receive_into_take_no_descriptors(pair: Any, way: str) -> None:
    left, right = pair
    before = open_descriptors()
    with watched() as pipe:
        await left.send_descriptors(b"a gift", [pipe] * 100)
        pipe.close_here()
        assert pipe.is_open_anywhere, "it is on its way"
        if way == "some":
            assert await right.receive_some() == b"a gift"
        else:
            memory = bytearray(10)
            assert await right.receive_into(memory) == 6
        assert not pipe.is_open_anywhere
    assert open_descriptors() == before


async def test_descriptors_in_flight_are_closed_with_the_stream(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await left.send_descriptors(b"x", [pipe])
        pipe.close_here()
        await right.aclose()
        assert not pipe.is_open_anywhere


@pytest.mark.parametrize(("sent", "most"), [(2, 1), (253, 1), (254 - 1, 252), (9, 8), (4, 3)])
async def test_more_descriptors_than_allowed_break_the_stream(
    pair: Any, sent: int, most: int
) -> None:
    left, right = pair
    before = open_descriptors()
    with watched() as pipe:
        await left.send_descriptors(b"too many", [pipe] * sent)
        pipe.close_here()
        with pytest.raises(
            ipcpipes.DescriptorsLost, match=f"max_descriptors allows, {most}$"
        ) as caught:
            await right.receive_descriptors(None, most)
        assert isinstance(caught.value, trio.BrokenResourceError)
        assert isinstance(caught.value, OSError)
        assert (caught.value.data, caught.value.errno) == (b"too many", errno.EMSGSIZE)
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (str(copy), copy.data, copy.errno) == (
            str(caught.value),
            b"too many",
            errno.EMSGSIZE,
        )
        assert not pipe.is_open_anywhere, "none is kept"
    assert open_descriptors() == before
    await left.send_all(b"more")
    for receive in (right.receive_some, right.receive_descriptors):
        with pytest.raises(trio.BrokenResourceError, match="max_descriptors"):
            await receive()
    with pytest.raises(trio.BrokenResourceError, match="max_descriptors"):
        await right.receive_into(bytearray(10))
    await right.send_all(b"the other way is whole")
    assert await receive_exactly(left, 22) == b"the other way is whole"
    await right.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await right.receive_descriptors()


async def test_receiving_at_the_descriptor_limit_raises_emfile() -> None:
    # Without threads, which need descriptors of their own when they start.
    for free in (0, 1, 2):
        left, right = await stream_pair()
        async with left, right:
            with watched() as pipe:
                await left.send_descriptors(b"x", [pipe] * 3)
                pipe.close_here()
                with at_most_open(free):
                    with pytest.raises(ipcpipes.DescriptorsLost, match="NOFILE") as caught:
                        await right.receive_descriptors()
                assert (caught.value.data, caught.value.errno) == (b"x", errno.EMFILE)
                assert not pipe.is_open_anywhere
            with pytest.raises(trio.BrokenResourceError, match="NOFILE"):
                await right.receive_some()


async def test_receiving_just_below_the_descriptor_limit_works() -> None:
    left, right = await stream_pair()
    async with left, right:
        with watched() as pipe:
            await left.send_descriptors(b"x", [pipe] * 3)
            with at_most_open(3):
                data, numbers = await right.receive_descriptors(None, 3)
            close_all(numbers)
            assert (data, len(numbers)) == (b"x", 3)


async def test_sending_a_closed_descriptor_raises_and_sends_nothing(pair: Any) -> None:
    left, right = pair
    before = open_descriptors()
    with watched() as pipe:
        pipe.close_here()
        for wrong in ([10**6], [0, 10**6], [2**31 - 1]):
            with pytest.raises(OSError, match="one of these descriptors is not open") as caught:
                await left.send_descriptors(b"nothing goes out", wrong)
            assert caught.value.errno == errno.EBADF
    nothing: Any
    for nothing, kind in (
        ([], ValueError),
        ([-1], ValueError),
        ([2**31], ValueError),
        (b"\1\2", TypeError),
        ("12", TypeError),
        ([True], TypeError),
        ([1.0], TypeError),
        ([None], TypeError),
        (7, TypeError),
    ):
        with pytest.raises(kind):
            await left.send_descriptors(b"nothing goes out", nothing)
    with pytest.raises(ValueError, match="1 byte or more"):
        await left.send_descriptors(b"", [0])
    for size, most in ((0, 1), (1, 0), (1, 254), (1, -1)):
        with pytest.raises(ValueError, match="max_"):
            await right.receive_descriptors(size, most)
    for what in (True, 1.0, None, "1"):
        with pytest.raises(TypeError):
            await right.receive_descriptors(1, what)
    await left.send_all(b"as it was")
    assert await right.receive_descriptors() == (b"as it was", [])
    assert open_descriptors() == before


@pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0,
    reason="Linux limits every user except root, and only root can change the user",
)
def test_too_many_descriptors_in_flight_raise_etoomanyrefs() -> None:
    program = blocking_program(
        """
        import errno, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
        os.setgid(65534)
        os.setuid(65534)
        where = ipcpipes.Endpoint.abstract(sys.argv[1])
        with blocking.listen(where) as listener:
            client, server = blocking.connect(where), listener.accept()
        with client, server:
            sent = 0
            try:
                while sent < 1000:
                    client.send_descriptors(b"x", [0] * 20)
                    sent += 1
            except OSError as error:
                assert error.errno == errno.ETOOMANYREFS, error
                assert "on their way already" in str(error)
            client.send_all(b"as it was")
            for _ in range(sent):
                data, numbers = server.receive_descriptors()
                assert (data, len(numbers)) == (b"x", 20)
                for number in numbers:
                    os.close(number)
            assert server.receive_some() == b"as it was"
        say(0 < sent < 10)
        """,
        str(unique_endpoint().name),
    )
    result = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (result.stdout, result.stderr) == ("True\n", "")


async def test_a_closed_stream_raises(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await right.aclose()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="closed or died"):
                await left.send_descriptors(b"x", [pipe])
        await left.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await left.send_descriptors(b"x", [pipe])
        with pytest.raises(trio.ClosedResourceError):
            await left.receive_descriptors()


async def test_send_descriptors_after_send_eof_raises(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await left.send_eof()
        with pytest.raises(trio.ClosedResourceError, match="send_eof"):
            await left.send_descriptors(b"x", [pipe])
        assert await right.receive_descriptors() == (b"", [])


async def test_a_peer_that_closes_without_reading_is_at_its_end(pair: Any) -> None:
    left, right = pair
    await left.send_all(b"not read")
    await right.aclose()
    assert await left.receive_descriptors() == (b"", [])


async def test_a_thousand_rounds_leave_no_descriptor_open(pair: Any) -> None:
    left, right = pair
    before = open_descriptors()
    with watched() as pipe:
        for number in range(1000):
            await left.send_descriptors(b"x", [pipe] * (1 + number % 5))
            if number % 2:
                assert await right.receive_some() == b"x"
            else:
                _, numbers = await right.receive_descriptors()
                close_all(numbers)
    assert open_descriptors() == before


async def test_any_program_can_send_descriptors_to_a_stream(pair: Any) -> None:
    left, right = pair
    with watched() as pipe, raw(left) as foreign:
        socket.send_fds(foreign, [b"some", b"thing"], [pipe.end] * 2)
        data, numbers = await right.receive_descriptors()
        assert data == b"something"
        assert [pipe.comes_through(number) for number in numbers] == [True, True]
        close_all(numbers)


async def test_any_program_can_receive_descriptors_from_a_stream(pair: Any) -> None:
    left, right = pair
    with watched() as pipe, raw(right) as foreign:
        await left.send_descriptors(b"something", [pipe, pipe])
        foreign.setblocking(True)
        data, numbers, flags, _ = socket.recv_fds(foreign, 100, 10)
        assert (data, flags & socket.MSG_CTRUNC) == (b"something", 0)
        assert [pipe.comes_through(number) for number in numbers] == [True, True]
        close_all(numbers)


@pytest.mark.skipif(sys.platform != "linux", reason="other kinds of ancillary data are Linux' own")
@pytest.mark.parametrize("options", [["CRED"], ["CRED", "PIDFD"], ["PIDFD"]])
async def test_other_ancillary_data_is_ignored(pair: Any, options: list[str]) -> None:
    left, right = pair
    numbers_of = {"CRED": 16, "PIDFD": 76}  # SO_PASSCRED, SO_PASSPIDFD (asm-generic/socket.h)
    with raw(right) as foreign:
        for option in options:
            try:
                foreign.setsockopt(socket.SOL_SOCKET, numbers_of[option], 1)
            except OSError:
                pytest.skip("this kernel has no SO_PASSPIDFD (6.5)")
    before = open_descriptors()
    with watched() as pipe:
        await left.send_all(b"plain")
        assert await right.receive_descriptors(None, 1) == (b"plain", [])
        for count, most in ((1, 1), (2, 2), (253, 253), (3, 252)):
            await left.send_descriptors(b"x", [pipe] * count)
            data, numbers = await right.receive_descriptors(None, most)
            close_all(numbers)
            assert (data, len(numbers)) == (b"x", count)
        await left.send_descriptors(b"x", [pipe] * 2)
        with pytest.raises(trio.BrokenResourceError, match=r"max_descriptors allows, 1$"):
            await right.receive_descriptors(None, 1)
    assert open_descriptors() == before


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


_USER = {
    "trio": trio_program("""
        async with ipcpipes.parent_stream() as stream:
            data, numbers = await stream.receive_descriptors()
            for number in numbers:
                os.write(number, data)
                assert not os.get_inheritable(number)
            again = os.dup(numbers[0])
            await stream.send_descriptors(b"back", [again])
            os.close(again)
            await stream.receive_some()
        """),
    "blocking": blocking_program("""
        with blocking.parent_stream() as stream:
            data, numbers = stream.receive_descriptors()
            for number in numbers:
                os.write(number, data)
                assert not os.get_inheritable(number)
            again = os.dup(numbers[0])
            stream.send_descriptors(b"back", [again])
            os.close(again)
            stream.receive_some()
        """),
}


@pytest.mark.parametrize("driver", _USER)
async def test_a_child_uses_received_descriptors(driver: str, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with (
        watched() as pipe,
        (tmp_path / "log").open("wb") as file,
        ours,
        trio.fail_after(SECONDS),
    ):
        async with ipcpipes.open_child(_USER[driver]) as child:
            await child.stream.send_descriptors(b"hello", [pipe, file, theirs])
            theirs.close()
            data, numbers = await child.stream.receive_descriptors()
            assert data == b"back"
            os.write(numbers[0], b" and goodbye")
            close_all(numbers)
            assert os.read(pipe._receiving, 100) == b"hello and goodbye"
            assert ours.recv(100) == b"hello"
            pipe.close_here()
            assert pipe.is_open_anywhere, "the child has it"
        assert not pipe.is_open_anywhere
    assert (tmp_path / "log").read_bytes() == b"hello"


async def test_a_connection_can_be_handed_to_another_process() -> None:
    program = blocking_program("""
        import socket
        with blocking.parent_stream() as stream:
            _, (number,) = stream.receive_descriptors()
            with socket.socket(fileno=number) as client:
                client.setblocking(True)
                while data := client.recv(100):
                    client.sendall(data.upper())
        """)
    with trio.fail_after(SECONDS):
        client, server = await stream_pair()
        async with client, ipcpipes.open_child(program) as child:
            await child.stream.send_descriptors(b"\0", [server._number])
            await server.aclose()
            await client.send_all(b"a short text")
            assert await receive_exactly(client, 12) == b"A SHORT TEXT"
            await client.aclose()


async def test_descriptors_arrive_from_a_sender_that_dies_half_way(short_tmp: Path) -> None:
    path = short_tmp / "s"
    program = blocking_program(
        """
        reading, writing = os.pipe()
        stream = blocking.connect(sys.argv[1])
        say("sending")
        stream.send_descriptors(bytes(5_000_000), [writing] * 3)
        """,
        str(path),
    )
    before = open_descriptors()
    async with await ipcpipes.listen(path) as listener:
        with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
            async with await listener.accept() as stream:
                data, numbers = await stream.receive_descriptors(1)
                process.send_signal(signal.SIGKILL)
                process.wait()
                assert data == b"\0"
                assert len(numbers) == 3
                close_all(numbers)
                while data:
                    data, numbers = await stream.receive_descriptors()
                    assert not numbers
    assert open_descriptors() == before


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


async def test_memory_streams_carry_no_descriptors() -> None:
    left, right = memory_stream_pair()
    with pytest.raises(ipcpipes.NotSupported, match="memory"):
        await left.send_descriptors(b"x", [0])
    with pytest.raises(ipcpipes.NotSupported, match="memory"):
        await right.receive_descriptors()
