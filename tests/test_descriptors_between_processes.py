"""Descriptors over streams between processes, and to programs without this library."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from .conftest import open_descriptors
from .descriptors import PAIRS, close_all, connected, raw, watched
from .pairs import receive_exactly, stream_pair
from .processes import SECONDS
from .programs import blocking_program, trio_program


@pytest.fixture(params=PAIRS)
async def pair(request: pytest.FixtureRequest) -> Any:
    left, right = await connected(request.param)
    async with left, right:
        yield left, right


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
