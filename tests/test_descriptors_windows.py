"""Windows: handles go over channels into the peer's process; streams refuse in time."""

from __future__ import annotations

import errno
import functools
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, Lines, MessageChannel, blocking
from ipcpipes.testing import memory_stream_pair, unique_endpoint

if sys.platform != "win32":
    pytest.skip("elsewhere the system passes them", allow_module_level=True)

import ctypes
import msvcrt
import socket

from ipcpipes._ffi import lib
from ipcpipes._os.handles.headers import handle_header
from ipcpipes._os.windows import calls, passing

from . import drivers
from .children import python_child
from .descriptors import PAIRS, connected
from .handles import is_open, open_handles
from .pairs import stream_pair
from .processes import SECONDS
from .programs import blocking_program, trio_program
from .threads import Worker, stream_pair as blocking_pair

REFUSED = "carries no handles"
KINDS = [
    pytest.param(LengthPrefixed(), id="length"),
    pytest.param(Lines(), id="lines"),
    pytest.param(NATIVE, id="native"),
]
_kernel: Any = ctypes.windll.kernel32


@pytest.fixture(params=PAIRS)
def doors(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=KINDS)
def framing(request: pytest.FixtureRequest) -> Any:
    return request.param


async def channels(doors: Any, framing: Any, most: int = 8) -> tuple[Any, Any]:
    return await connected(doors, "_messages", framing=framing, max_descriptors=most)


class Handles:
    """Handles of one pipe; the other end tells whether any is open in any process."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self._reading = reading
        self._writing = writing
        self.handle = msvcrt.get_osfhandle(writing)

    def close_here(self) -> None:
        if self._writing != -1:
            os.close(self._writing)
            self._writing = -1

    @property
    def is_open_anywhere(self) -> bool:
        assert self._writing == -1
        left = ctypes.c_ulong()
        return bool(
            _kernel.PeekNamedPipe(
                ctypes.c_void_p(msvcrt.get_osfhandle(self._reading)),
                None,
                0,
                None,
                ctypes.byref(left),
                None,
            )
        )

    def comes_through(self, handle: int) -> bool:
        number = msvcrt.open_osfhandle(handle, 0)
        os.write(number, b"?")
        os.close(number)
        return os.read(self._reading, 10) == b"?"

    def close(self) -> None:
        self.close_here()
        os.close(self._reading)


@contextmanager
def watched() -> Iterator[Handles]:
    handles = Handles()
    try:
        yield handles
    finally:
        handles.close()


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


def test_handles_are_counted_at_all() -> None:
    before = open_handles()
    with watched():
        assert open_handles() == before + 2


def test_the_c_layer_takes_as_many() -> None:
    assert lib.IPC_MOST_HANDLES == ipcpipes.abc.MOST_DESCRIPTORS


def test_an_abandoned_channel_is_closed_at_once() -> None:
    where = unique_endpoint()
    with blocking.listen_messages(where, max_descriptors=1) as listener:
        left = blocking.connect_messages(where, max_descriptors=1)
        with listener.accept() as right:
            gc.disable()
            try:
                with pytest.warns(ResourceWarning):
                    del left
                with pytest.raises(trio.EndOfChannel):
                    right.receive(timeout=SECONDS)
            finally:
                gc.enable()


# Between processes

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


# Within one


async def test_each_comes_with_its_message(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    sizes = [0, 5, 1, 0, 70_000, 3, 0, 200_000, 9, 0]
    counts = [0, 1, 0, 3, 2, 0, 1, 8, 0, 1]

    async def send_all_of_them(pipe: Handles) -> None:
        for size, count in zip(sizes, counts, strict=True):
            if count:
                await left.send_descriptors(bytes(size), [pipe.handle] * count)
            else:
                await left.send_many([bytes(size), bytes(size)])
        await left.aclose()

    before = open_handles()
    with watched() as pipe:
        async with right, trio.open_nursery() as nursery:
            nursery.start_soon(send_all_of_them, pipe)
            for size, count in zip(sizes, counts, strict=True):
                for _ in range(1 if count else 2):
                    message, handles = await right.receive_descriptors()
                    assert message == bytes(size)
                    assert len(handles) == count
                    for handle in handles:
                        assert pipe.comes_through(handle)
            for _ in range(2):
                with pytest.raises(trio.EndOfChannel):
                    await right.receive_descriptors()
        pipe.close_here()
        assert not pipe.is_open_anywhere
    assert open_handles() <= before


@pytest.mark.parametrize("how", ["receive", "receive_many"])
async def test_what_is_not_fetched_is_closed(doors: Any, framing: Any, how: str) -> None:
    left, right = await channels(doors, framing)
    async with left, right:
        with watched() as pipe:
            for number in range(5):
                await left.send_descriptors(b"%d" % number, [pipe.handle] * (number + 1))
            pipe.close_here()
            message, (handle,) = await right.receive_descriptors()
            assert message == b"0"
            calls.close(handle)
            got: list[bytes] = []
            while len(got) < 4:
                got += [await right.receive()] if how == "receive" else await right.receive_many()
            assert got == [b"1", b"2", b"3", b"4"]
            assert not pipe.is_open_anywhere


@pytest.mark.parametrize("kind", [LengthPrefixed(), Lines()])
async def test_closing_closes_what_was_received_with_another(doors: Any, kind: Any) -> None:
    left, right = await channels(doors, kind)
    async with left, right:
        with watched() as pipe:
            for number in range(5):
                await left.send_descriptors(b"%d" % number, [pipe.handle])
            pipe.close_here()
            message, (handle,) = await right.receive_descriptors()
            assert message == b"0"
            # One read of the system took all of them.
            await right.aclose()
            assert pipe.is_open_anywhere, "what was fetched is its receiver's"
            calls.close(handle)
            assert not pipe.is_open_anywhere


async def test_more_than_allowed_is_the_peers_fault(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing, 2)
    async with left, right:
        with watched() as pipe:
            await left.send(b"before")
            await left.send_descriptors(b"bad", [pipe.handle] * 3)
            pipe.close_here()
            assert await right.receive() == b"before"
            for receive in (right.receive_descriptors, right.receive, right.receive_many):
                with pytest.raises(trio.BrokenResourceError, match=r"3 descriptors.*allows 2$"):
                    await receive()
            assert not pipe.is_open_anywhere
        await right.send(b"the other way is whole")
        assert await left.receive() == b"the other way is whole"


async def test_forged_numbers_are_refused_and_left_alone(
    doors: Any, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "is_trusted_sender", lambda _: False)
    left, right = await channels(doors, framing)
    async with left, right:
        with watched() as pipe:
            await left.send(b"no handles, no question")
            await left.send_descriptors(b"bad", [pipe.handle])
            assert await right.receive() == b"no handles, no question"
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError, match="not trusted"):
                    await right.receive_descriptors()
            pipe.close_here()
            assert pipe.is_open_anywhere, "the number was closed, which could be anybody's"


@pytest.mark.parametrize("to", ["client", "server"])
async def test_who_has_a_lower_integrity_level_is_not_believed(
    doors: Any, framing: Any, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = await channels(doors, framing)
    sender, receiver = (server, client) if to == "client" else (client, server)
    level = passing._our_level()
    async with sender, receiver:
        with watched() as pipe:
            monkeypatch.setattr(passing, "_our_level", lambda: level + 1)
            await sender.send_descriptors(b"bad", [pipe.handle])
            with pytest.raises(trio.BrokenResourceError, match="not trusted"):
                await receiver.receive_descriptors()


@pytest.mark.parametrize(
    ("owner", "believed"),
    [
        ("S-1-5-18", True),
        ("S-1-5-32-544", True),
        ("S-1-5-32-545", False),
        ("S-1-5-21-1-2-3-1001", False),
        (None, False),
    ],
)
async def test_a_client_asks_who_owns_the_pipe(
    doors: Any, owner: str | None, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = await channels(doors, LengthPrefixed())
    async with client, server:
        with watched() as pipe:
            identity = ipcpipes.PeerIdentity(sid=owner)
            monkeypatch.setattr(calls, "owner", lambda _: identity)
            await server.send_descriptors(b"x", [pipe.handle])
            if believed:
                message, (handle,) = await client.receive_descriptors()
                assert message == b"x"
                calls.close(handle)
            else:
                with pytest.raises(trio.BrokenResourceError, match="not trusted"):
                    await client.receive_descriptors()
            # The other direction is another question.
            await client.send_descriptors(b"y", [pipe.handle])
            message, (handle,) = await server.receive_descriptors()
            assert message == b"y"
            calls.close(handle)


async def test_a_client_that_does_not_say_who_it_is_is_not_believed(
    doors: Any, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = await channels(doors, framing)
    async with client, server:
        with watched() as pipe:
            refused = (calls.ERROR_CANT_OPEN_ANONYMOUS, 0, 0)
            monkeypatch.setattr(calls, "client_token", lambda _: refused)
            await client.send_descriptors(b"x", [pipe.handle])
            with pytest.raises(trio.BrokenResourceError, match="not trusted"):
                await server.receive_descriptors()


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        ([b"a message"], "needs max_descriptors= too"),
        ([b""], "needs max_descriptors= too"),
        ([b"handles "], "needs max_descriptors"),
        ([b"handles 0 4"], "needs max_descriptors"),
        ([b"handles 1"], "needs max_descriptors"),
        ([b"handles 1 04"], "needs max_descriptors"),
        ([b"handles 1 -4"], "needs max_descriptors"),
        ([b"handles 1 4" + 253 * b" 8"], "needs max_descriptors"),
        ([b"handles 1 " + 10_000 * b"4"], "needs max_descriptors"),
        ([b"handles 1 80000000"], "invalid or duplicate"),
        ([b"handles 1 4 8 4"], "invalid or duplicate"),
        ([b"handles 4294967295 4"], "put handles into process 4294967295, which opened this end"),
        ([b"handles", b"good", b"bad"], "needs max_descriptors"),
        ([b"handles PID 7ffffff0"], "not open in this process"),
        ([b"handles PID OURS 7ffffff0"], "not open in this process"),
        ([b"handles"], "ended inside a message"),
        ([b"handles PID"], "needs max_descriptors"),
    ],
)
async def test_bad_handle_header_is_the_peers_fault(
    doors: Any, framing: Any, wire: list[bytes], fault: str
) -> None:
    client_door, server_door = doors
    with watched() as pipe:
        async with await server_door.listen_messages(
            unique_endpoint(), framing=framing, max_descriptors=8
        ) as listener:
            left = await client_door.connect_messages(listener.endpoint, framing=framing)
            async with left, await listener.accept() as right:
                await left.send_many(
                    [
                        part.replace(b"PID", b"%d" % os.getpid()).replace(
                            b"OURS", b"%x" % pipe.handle
                        )
                        for part in wire
                    ]
                )
                await left.aclose()
                if b"good" in wire:
                    assert await right.receive_descriptors() == (b"good", [])
                for _ in range(2):
                    with pytest.raises(trio.BrokenResourceError, match=fault):
                        await right.receive_descriptors()
        assert is_open(pipe.handle)


async def test_message_may_look_like_a_handle_header(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    async with left, right:
        with watched() as pipe:
            forged = handle_header(os.getpid(), [pipe.handle])
            await left.send_many([forged, b"handles"])
            await left.send_descriptors(forged, [pipe.handle])
            assert await right.receive_descriptors() == (forged, [])
            assert await right.receive_descriptors() == (b"handles", [])
            message, (handle,) = await right.receive_descriptors()
            assert message == forged
            assert pipe.comes_through(handle)


async def test_what_cannot_be_given_is_the_callers_fault(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    wrong: Any
    async with left, right:
        with watched() as pipe, socket.socket() as some_socket:
            closed = os.open(os.devnull, os.O_RDONLY)
            closed_handle = msvcrt.get_osfhandle(closed)
            os.close(closed)
            before = open_handles()
            for wrong in ([0x7FFFFFF0], [pipe.handle, closed_handle]):
                with pytest.raises(OSError, match="not open") as caught:
                    await left.send_descriptors(b"x", wrong)
                assert caught.value.errno == errno.EBADF
            for wrong in ([], [-1], [2**31], [pipe.handle] * 254):
                with pytest.raises(ValueError, match="descriptor"):
                    await left.send_descriptors(b"x", wrong)
            for wrong in ("x", [None], [True], [1.5]):
                with pytest.raises(TypeError, match="descriptor"):
                    await left.send_descriptors(b"x", wrong)
            with pytest.raises(TypeError, match="share"):
                await left.send_descriptors(b"x", [some_socket])
            text: Any = "text"
            with pytest.raises(TypeError):
                await left.send_descriptors(text, [pipe.handle])
            with pytest.raises(ipcpipes.MessageTooLarge):
                await left.send_descriptors(bytes(left.max_size + 1), [pipe.handle])
            assert open_handles() <= before
            await left.send_descriptors(b"as it was", [pipe.handle])
            message, (handle,) = await right.receive_descriptors()
            assert message == b"as it was"
            assert pipe.comes_through(handle)
            pipe.close_here()
            assert not pipe.is_open_anywhere


@pytest.mark.parametrize("kind", [LengthPrefixed, Lines, ipcpipes.framing.Native])
async def test_max_size_is_the_messages_own(doors: Any, kind: Any) -> None:
    framing = kind(max_size=40)
    left, right = await channels(doors, framing, 100)
    async with left, right:
        assert left.max_size == 40
        with watched() as pipe:
            await left.send(bytes(40))
            await left.send_descriptors(bytes(40), [pipe.handle])
            assert await right.receive_descriptors() == (bytes(40), [])
            message, (handle,) = await right.receive_descriptors()
            assert message == bytes(40)
            calls.close(handle)
            with pytest.raises(ipcpipes.MessageTooLarge, match=r"header.*40 bytes"):
                await left.send_descriptors(b"", [pipe.handle] * 40)
            pipe.close_here()
            assert not pipe.is_open_anywhere
        await left.send(b"as it was")
        assert await right.receive() == b"as it was"
    left, right = await channels(doors, kind(max_size=6))
    async with left, right:
        with pytest.raises(ipcpipes.MessageTooLarge, match=r"header.* 6 bytes"):
            await left.send(b"")


async def test_framing_that_cannot_carry_a_header_says_so(doors: Any) -> None:
    left, right = await channels(doors, Lines(b"handles"))
    async with left, right:
        with watched() as pipe:
            with pytest.raises(ipcpipes.FramingError, match="delimiter"):
                await left.send_descriptors(b"x", [pipe.handle])
            with pytest.raises(ipcpipes.FramingError, match="delimiter"):
                await left.send(b"x")
            pipe.close_here()
            assert not pipe.is_open_anywhere


@pytest.mark.parametrize("kind", [LengthPrefixed(), NATIVE])
async def test_a_sender_that_was_cancelled_before_has_taken_them_back(kind: Any) -> None:
    left, right = await channels((ipcpipes, ipcpipes), kind)
    async with left, right:
        with watched() as pipe:
            with trio.CancelScope() as scope:
                scope.cancel()
                await left.send_descriptors(b"never", [pipe.handle])
            assert scope.cancelled_caught
            pipe.close_here()
            assert not pipe.is_open_anywhere
        await left.send(b"as it was")
        assert await right.receive_descriptors() == (b"as it was", [])


@pytest.mark.parametrize("kind", [LengthPrefixed(), NATIVE])
async def test_a_sender_that_was_cancelled_half_way_is_broken(kind: Any) -> None:
    left, right = await channels((ipcpipes, ipcpipes), kind)
    async with left, right:
        with watched() as pipe:
            with trio.move_on_after(0.2) as scope:
                await left.send_descriptors(bytes(1_000_000), [pipe.handle])
            assert scope.cancelled_caught
            with pytest.raises(trio.BrokenResourceError, match="cancelled half-way"):
                await left.send(b"x")
            await left.aclose()
            with pytest.raises((trio.BrokenResourceError, trio.EndOfChannel)):
                await right.receive_descriptors()


async def test_a_peer_that_has_gone_gets_none(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    async with left:
        await right.aclose()
        with watched() as pipe:
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError):
                    await left.send_descriptors(b"x", [pipe.handle])
            pipe.close_here()
            assert not pipe.is_open_anywhere


async def test_a_peer_that_was_killed_gets_none(framing: Any) -> None:
    program = """
    where = ipcpipes.Endpoint.path(sys.argv[1])
    async with await ipcpipes.connect(where) as stream:
        say("here")
        await trio.sleep_forever()
    """
    async with await ipcpipes.listen_messages(
        unique_endpoint(), framing=framing, max_descriptors=1
    ) as listener:
        with python_child(program, listener.address) as child:
            async with await listener.accept() as channel:
                child.hear()
                child.kill()
                with watched() as pipe, pytest.raises(trio.BrokenResourceError):
                    await channel.send_descriptors(b"x", [pipe.handle])


@pytest.mark.wine_differs("there is no process 4")
async def test_a_process_that_may_not_be_opened_is_named(
    doors: Any, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = await channels(doors, framing)
    # The system's own process, which nobody may open.
    monkeypatch.setattr(getattr(left, "blocking", left)._carrier, "_known_process", 4)
    async with left, right:
        with watched() as pipe:
            with pytest.raises(PermissionError, match="handles into process 4, which"):
                await left.send_descriptors(b"x", [pipe.handle])
        await left.send(b"as it was")
        assert await right.receive() == b"as it was"


async def test_a_refusal_of_the_system_is_told(
    doors: Any, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        ipc_take_back = lib.ipc_take_back

        @staticmethod
        def ipc_give_handles(*_: object) -> int:
            return calls.ERROR_ACCESS_DENIED

    left, right = await channels(doors, framing)
    async with left, right:
        with watched() as pipe, monkeypatch.context() as context:
            context.setattr(passing, "lib", Refusing)
            with pytest.raises(PermissionError, match=rf"handles into process {os.getpid()},"):
                await left.send_descriptors(b"x", [pipe.handle])
        await left.send(b"as it was")
        assert await right.receive() == b"as it was"


# Who does not take part


async def test_a_stream_refuses_and_is_as_it_was() -> None:
    left, right = await stream_pair()
    async with left, right:
        assert not left.carries_descriptors
        with pytest.raises(ipcpipes.NotSupported, match=rf"{REFUSED}.*open_child"):
            await left.send_descriptors(b"not this", [0])
        with pytest.raises(ipcpipes.NotSupported, match=REFUSED):
            await right.receive_descriptors()
        await left.send_all(b"but this")
        assert await right.receive_some() == b"but this"


def test_a_blocking_stream_too() -> None:
    left, right = blocking_pair()
    with left, right:
        assert not left.carries_descriptors
        with pytest.raises(ipcpipes.NotSupported, match=rf"{REFUSED}.*open_child"):
            left.send_descriptors(b"not this", [0], timeout=1)
        with pytest.raises(ipcpipes.NotSupported, match=REFUSED):
            right.receive_descriptors(timeout=1)
        left.send_all(b"but this")
        assert right.receive_some() == b"but this"


async def test_a_channel_without_max_descriptors_refuses(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing, 0)
    async with left, right:
        with pytest.raises(RuntimeError, match="both ends were made with max_descriptors="):
            await left.send_descriptors(b"not this", [0])
        with pytest.raises(RuntimeError, match="max_descriptors"):
            await right.receive_descriptors()
        await left.send(b"but this")
        assert await right.receive() == b"but this"


def test_a_channel_over_memory_refuses() -> None:
    left, _ = memory_stream_pair()
    with pytest.raises(ipcpipes.NotSupported, match="not over"):
        MessageChannel(left, max_descriptors=1)


def test_a_timeout_in_the_middle_breaks_the_channel() -> None:
    where = unique_endpoint()
    with blocking.listen_messages(where, max_descriptors=1) as listener:
        left = blocking.connect_messages(where, max_descriptors=1)
        with left, listener.accept() as right, watched() as pipe:
            with pytest.raises(TimeoutError):
                left.send_descriptors(bytes(1_000_000), [pipe.handle], timeout=0.1)
            with pytest.raises(trio.BrokenResourceError, match="interrupted"):
                left.send(b"x")
            worker = Worker(right.receive)
            left.close()
            with pytest.raises((trio.BrokenResourceError, trio.EndOfChannel)):
                worker.result()
