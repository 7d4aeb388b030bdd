"""Windows: handles go over channels between processes."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, MessageChannel, blocking
from ipcpipes.testing import unique_endpoint

if sys.platform != "win32":
    pytest.skip("elsewhere the system passes them", allow_module_level=True)

import msvcrt

from ipcpipes._os.windows import calls

from . import drivers
from .children import python_child
from .handle_channels import watched
from .handles import open_handles
from .processes import SECONDS
from .programs import blocking_program, trio_program


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        yield file


def contents(handle: int) -> bytes:
    """All that is in the file; it is closed."""
    with open(msvcrt.open_osfhandle(handle, os.O_RDONLY), "rb") as file:
        file.seek(0)
        return file.read()


def read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


OPENER = """
where = ipcpipes.Endpoint.path(sys.argv[1])
framing = {"native": ipcpipes.NATIVE, "length": ipcpipes.LengthPrefixed()}[sys.argv[2]]
def read(handle):
    with open(msvcrt.open_osfhandle(handle, os.O_RDONLY), "rb") as file:
        file.seek(0)
        return file.read()
def write(handle, data):
    with open(msvcrt.open_osfhandle(handle, 0), "wb") as file:
        file.write(data)
"""


TRIO_PEER = trio_program(
    "import msvcrt"
    + OPENER
    + """
async with await ipcpipes.connect_messages(where, framing=framing, max_descriptors=2) as channel:
    while True:
        try:
            message, handles = await channel.receive_descriptors()
        except trio.EndOfChannel:
            break
        if message == b"use":
            write(handles[1], read(handles[0]).upper())
            with open(sys.argv[3], "rb") as file:
                await channel.send_descriptors(b"yours", [file])
"""
)


BLOCKING_PEER = blocking_program(
    "import msvcrt, trio"
    + OPENER
    + """
with blocking.connect_messages(where, framing=framing, max_descriptors=2) as channel:
    while True:
        try:
            message, handles = channel.receive_descriptors()
        except trio.EndOfChannel:
            break
        if message == b"use":
            write(handles[1], read(handles[0]).upper())
            with open(sys.argv[3], "rb") as file:
                channel.send_descriptors(b"yours", [file])
"""
)


@pytest.mark.parametrize("program", [TRIO_PEER, BLOCKING_PEER], ids=["to-trio", "to-blocking"])
@pytest.mark.parametrize("name", ["length", "native"])
@pytest.mark.parametrize("door", [ipcpipes, drivers], ids=["from-trio", "from-blocking"])
async def test_files_and_pipes_go_to_another_process_and_back(
    door: Any, name: str, program: Any, tmp_path: Any
) -> None:
    framing = NATIVE if name == "native" else LengthPrefixed()
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(b"of the one")
    theirs.write_bytes(b"of the other")
    options = {"framing": framing, "max_descriptors": 2}
    async with await door.listen_messages(unique_endpoint(), **options) as listener:
        command = [*program, listener.address, name, str(theirs)]
        process = await trio.lowlevel.open_process(command)
        try:
            with trio.fail_after(SECONDS):
                async with await listener.accept() as channel:
                    reading, writing = os.pipe()
                    with opened(ours) as file:
                        handle = msvcrt.get_osfhandle(writing)
                        await channel.send_descriptors(b"use", [file, handle])
                    os.close(writing)
                    assert await trio.to_thread.run_sync(read_all, reading) == b"OF THE ONE"
                    message, (handle,) = await channel.receive_descriptors()
                    assert message == b"yours"
                    assert not os.get_handle_inheritable(handle)
                    assert contents(handle) == b"of the other"
                assert await process.wait() == 0
        finally:
            process.kill()
            await process.wait()


COUNTING = """
def is_open(handle):
    try:
        os.get_handle_inheritable(handle)
    except OSError:
        return False
    return True
def open_handles():
    return sum(map(is_open, range(4, 1 << 13, 4)))
where = ipcpipes.Endpoint.path(sys.argv[1])
framing = {"native": ipcpipes.NATIVE, "length": ipcpipes.LengthPrefixed()}[sys.argv[2]]
async with await ipcpipes.connect_messages(where, framing=framing, max_descriptors=3) as channel:
    for turn in range(2):
        for number in range(200):
            if number % 2:
                message, handles = await channel.receive_descriptors()
                assert len(handles) == 3
                await channel.send_descriptors(message, handles[:1])
                for handle in handles:
                    _winapi.CloseHandle(handle)
            else:
                await channel.send(await channel.receive())
        say(open_handles())
"""


@pytest.mark.parametrize("name", ["length", "native"])
async def test_nothing_stays_open_in_either_process(name: str) -> None:
    framing = NATIVE if name == "native" else LengthPrefixed()
    counted: list[int] = []
    theirs: list[int] = []
    async with await ipcpipes.listen_messages(
        unique_endpoint(), framing=framing, max_descriptors=3
    ) as listener:
        with python_child("import os, _winapi\n" + COUNTING, listener.address, name) as child:
            with watched() as pipe, trio.fail_after(SECONDS):
                async with await listener.accept() as channel:
                    for _ in range(2):
                        for number in range(200):
                            await channel.send_descriptors(b"%d" % number, [pipe.handle] * 3)
                            message, handles = await channel.receive_descriptors()
                            assert message == b"%d" % number
                            assert len(handles) == number % 2
                            for handle in handles:
                                calls.close(handle)
                        theirs.append(int(await trio.to_thread.run_sync(child.hear)))
                        counted.append(open_handles())
                pipe.close_here()
                assert child.wait() == 0
                assert not pipe.is_open_anywhere
    # The first turn may have opened what stays for good.
    assert theirs[1] <= theirs[0] + 2
    assert counted[1] <= counted[0] + 2


async def test_between_a_parent_and_its_child(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"handed over")
    program = trio_program("""
    import msvcrt
    async with ipcpipes.parent_stream() as stream:
        channel = ipcpipes.MessageChannel(stream, max_descriptors=1)
        message, (handle,) = await channel.receive_descriptors()
        with open(msvcrt.open_osfhandle(handle, os.O_RDONLY), "rb") as file:
            await channel.send_descriptors(file.read(), [file])
        await channel.receive()
    """)
    with trio.fail_after(SECONDS):
        async with ipcpipes.open_child(program) as child:
            channel = MessageChannel(child.stream, max_descriptors=1)
            with opened(path) as file:
                await channel.send_descriptors(b"read it", [file])
            message, (handle,) = await channel.receive_descriptors()
            assert message == b"handed over"
            assert contents(handle) == b"handed over"
            await channel.send(b"that is all")
            assert await child.process.wait() == 0


def test_between_a_parent_and_its_child_without_an_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"handed over")
    program = blocking_program("""
    import msvcrt
    with blocking.parent_stream() as stream:
        channel = blocking.MessageChannel(stream, max_descriptors=1)
        message, (handle,) = channel.receive_descriptors()
        with open(msvcrt.open_osfhandle(handle, os.O_RDONLY), "rb") as file:
            channel.send_descriptors(file.read(), [file])
        channel.receive()
    """)
    with blocking.open_child(program) as child:
        channel = blocking.MessageChannel(child.stream, max_descriptors=1)
        with opened(path) as file:
            channel.send_descriptors(b"read it", [file], timeout=SECONDS)
        message, (handle,) = channel.receive_descriptors(timeout=SECONDS)
        assert message == b"handed over"
        assert contents(handle) == b"handed over"
        channel.send(b"that is all")
        assert child.process.wait(SECONDS) == 0


@pytest.mark.parametrize("kind", [LengthPrefixed(), NATIVE])
async def test_after_a_proof_of_the_key(kind: Any) -> None:
    options: Any = {"framing": kind, "max_descriptors": 1, "authkey": b"0123456789abcdef"}
    got: list[bytes] = []

    async def handler(channel: Any) -> None:
        message, (handle,) = await channel.receive_descriptors()
        calls.close(handle)
        got.append(message)
        await channel.send(b"thanks")

    where = unique_endpoint()
    with trio.fail_after(SECONDS), watched() as pipe:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                functools.partial(ipcpipes.serve_messages, handler, where, **options)
            )
            async with await ipcpipes.connect_messages(where, **options) as channel:
                await channel.send_descriptors(b"trio", [pipe.handle])
                assert await channel.receive() == b"thanks"
            async with await drivers.connect_messages(where, **options) as channel:
                await channel.send_descriptors(b"blocking", [pipe.handle])
                assert await channel.receive() == b"thanks"
            nursery.cancel_scope.cancel()
    assert got == [b"trio", b"blocking"]
