"""Descriptors over channels: each arrives with its message, and none stays open unnoticed."""

from __future__ import annotations

import gc
import itertools
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, MessageChannel, blocking, rpc
from ipcpipes._os.handles.attached import AttachedDescriptors
from ipcpipes.testing import memory_stream_pair, unique_endpoint

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from .channels import FRAMINGS, has_native
from .conftest import open_descriptors
from .descriptors import PAIRS, at_most_open, close_all, connected, raw, watched
from .pairs import clog, stream_pair
from .processes import SECONDS
from .programs import blocking_program, trio_program
from .threads import Worker

KINDS = [
    *(pytest.param(framing, id=name) for name, framing in FRAMINGS.items()),
    pytest.param(NATIVE, id="native", marks=has_native),
]
TWO_KINDS = [KINDS[0], KINDS[-1]]


@pytest.fixture(params=PAIRS)
def doors(request: pytest.FixtureRequest) -> Any:
    return request.param


async def channels(doors: Any, framing: Any = None, most: int = 8) -> tuple[Any, Any]:
    framing = LengthPrefixed() if framing is None else framing
    return await connected(doors, "_messages", framing=framing, max_descriptors=most)


@contextmanager
def numbered_files(count: int) -> Iterator[list[int]]:
    """Files with different contents."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        for number, file in enumerate(files):
            os.write(file.fileno(), b"%d" % number)
        yield [file.fileno() for file in files]


def which(numbers: list[int]) -> list[int]:
    """Returns which files these descriptors belong to, and closes them."""
    found = [int(os.pread(number, 10, 0)) for number in numbers]
    close_all(numbers)
    return found


@pytest.mark.parametrize("framing", KINDS)
async def test_descriptors_arrive_with_their_message(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    before = open_descriptors()
    # Several wait in the system, so that one read receives messages with and without descriptors.
    sizes = [0, 5, 1, 0, 70_000, 3, 0, 0, 40_000, 9, 60_000, 0, 2]
    enclosed = [0, 1, 0, 3, 2, 0, 1, 1, 0, 0, 8, 0, 1]
    sizes = [min(size, left.max_size) for size in sizes]

    async def send_all_of_them(files: list[int]) -> None:
        for number, (size, count) in enumerate(zip(sizes, enclosed, strict=True)):
            if count:
                await left.send_descriptors(bytes(size), files[number : number + count])
            else:
                await left.send(bytes(size))
        await left.aclose()

    with numbered_files(len(sizes) + 8) as files:
        async with right, trio.open_nursery() as nursery:
            nursery.start_soon(send_all_of_them, files)
            for number, (size, count) in enumerate(zip(sizes, enclosed, strict=True)):
                message, numbers = await right.receive_descriptors()
                assert message == bytes(size), number
                assert not any(map(os.get_inheritable, numbers))
                assert which(numbers) == list(range(number, number + count)), number
            for _ in range(2):
                with pytest.raises(trio.EndOfChannel):
                    await right.receive_descriptors()
    assert open_descriptors() < before


@pytest.mark.parametrize("framing", TWO_KINDS)
@pytest.mark.parametrize("how", ["receive", "receive_many", "for"])
async def test_plain_receive_closes_the_descriptors(doors: Any, framing: Any, how: str) -> None:
    left, right = await channels(doors, framing)
    async with left, right:
        with watched() as pipe:
            for number in range(5):
                await left.send_descriptors(b"%d" % number, [pipe] * (number + 1))
            pipe.close_here()
            got: list[bytes] = []
            while len(got) < 5:
                if how == "receive":
                    got.append(await right.receive())
                elif how == "receive_many":
                    got += await right.receive_many()
                else:
                    async for message in right:
                        got.append(message)
                        if len(got) == 5:
                            break
            assert got == [b"0", b"1", b"2", b"3", b"4"]
            assert not pipe.is_open_anywhere


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_channel_without_max_descriptors_gets_none(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing, most=0)
    before = open_descriptors()
    async with left, right:
        with watched() as pipe:
            for number in range(20):
                await left.send_descriptors(b"%d" % number, [pipe] * 100)
            await left.send(b"last")
            pipe.close_here()
            with pytest.raises(RuntimeError, match="without max_descriptors="):
                await right.receive_descriptors()
            for number in range(20):
                assert await right.receive() == b"%d" % number
            assert await right.receive() == b"last"
            assert not pipe.is_open_anywhere
        assert open_descriptors() == before


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_closing_closes_unfetched_descriptors(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    async with left:
        with watched() as pipe:
            for number in range(5):
                await left.send_descriptors(b"%d" % number, [pipe])
            message, numbers = await right.receive_descriptors()
            assert message == b"0"
            pipe.close_here()
            await right.aclose()
            assert pipe.comes_through(*numbers), "what was fetched is its receiver's"
            close_all(numbers)
            assert not pipe.is_open_anywhere
            with pytest.raises(trio.ClosedResourceError):
                await right.receive_descriptors()


async def test_closing_closes_descriptors_of_incomplete_message(doors: Any) -> None:
    left, right = await channels(doors)
    with watched() as pipe:
        with raw(left) as foreign:
            socket.send_fds(foreign, [b"\5\0\0\0abc"], [pipe.end])
        pipe.close_here()
        with trio.move_on_after(0.05):
            await right.receive_descriptors()
        assert pipe.is_open_anywhere
        await left.aclose()
        with pytest.raises(trio.BrokenResourceError, match="inside a message"):
            await right.receive_descriptors()
        await right.aclose()
        assert not pipe.is_open_anywhere


@pytest.mark.parametrize("framing", TWO_KINDS)
@pytest.mark.parametrize("most", [1, 3, 250])
async def test_more_than_max_descriptors_breaks_receiving(
    doors: Any, framing: Any, most: int
) -> None:
    left, right = await channels(doors, framing, most)
    async with left, right:
        with watched() as pipe:
            await left.send(b"before")
            await left.send_descriptors(b"good", [pipe] * most)
            await left.send(b"came with the bad one")
            await left.send_descriptors(b"bad", [pipe] * (most + 1))
            await left.send(b"after")
            pipe.close_here()
            assert await right.receive_descriptors() == (b"before", [])
            message, numbers = await right.receive_descriptors()
            assert (message, len(numbers)) == (b"good", most)
            close_all(numbers)
            assert await right.receive() == b"came with the bad one"
            with pytest.raises(ipcpipes.DescriptorsLost, match=f"max_descriptors.*{most}$"):
                await right.receive_descriptors()
            for receive in (right.receive, right.receive_many):
                with pytest.raises(trio.BrokenResourceError, match=f"max_descriptors.*{most}$"):
                    await receive()
            assert not pipe.is_open_anywhere
        await right.send(b"the other way is whole")
        assert await left.receive() == b"the other way is whole"


async def test_descriptors_of_several_sends_add_up(doors: Any) -> None:
    left, right = await channels(doors, most=3)
    async with right:
        with watched() as pipe, raw(left) as foreign:
            # All three in one message are accepted.
            socket.send_fds(foreign, [struct.pack("<I", 3) + b"a"], [pipe.end])
            socket.send_fds(foreign, [b"b"], [pipe.end])
            socket.send_fds(foreign, [b"c"], [pipe.end])
            message, numbers = await right.receive_descriptors()
            assert (message, len(numbers)) == (b"abc", 3)
            close_all(numbers)
            socket.send_fds(foreign, [struct.pack("<I", 2) + b"a"], [pipe.end] * 2)
            socket.send_fds(foreign, [b"b"], [pipe.end] * 2)
            pipe.close_here()
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError, match="4 descriptors came with one"):
                    await right.receive_descriptors()
            await right.aclose()
            assert not pipe.is_open_anywhere
        await left.aclose()


async def test_foreign_sender_may_split_a_frame_anywhere(doors: Any) -> None:
    left, right = await channels(doors, LengthPrefixed(1))
    async with left, right:
        with numbered_files(3) as files, raw(left) as foreign:
            foreign.sendall(b"\1x\1")
            socket.send_fds(foreign, [b"y\1z\3ab"], [files[0]])  # with the last of these bytes
            foreign.sendall(b"c\0")
            socket.send_fds(foreign, [b"\0"], [files[1]])
            socket.send_fds(foreign, [b"\1w"], [files[2]])
            expected = [(b"x", []), (b"y", []), (b"z", []), (b"abc", [0]), (b"", [])]
            for message, enclosed in [*expected, (b"", [1]), (b"w", [2])]:
                got, numbers = await right.receive_descriptors()
                assert (got, which(numbers)) == (message, enclosed)


@pytest.mark.parametrize(
    ("platform", "reads"),
    [
        # A read ends after the first part of the send that brought them.
        ("linux", [(b"\1a\1", 0), (b"b\3c", 1), (b"de", 0), (b"\0\0", 2), (b"\0", 3)]),
        # A read begins there.
        ("darwin", [(b"\1a\1b", 0), (b"\3cde", 1), (b"\0", 0), (b"\0", 2), (b"\0", 3)]),
    ],
)
def test_descriptors_belong_to_one_message_on_each_system(
    monkeypatch: pytest.MonkeyPatch, platform: str, reads: list[tuple[bytes, int]]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    splitter = LengthPrefixed(1).splitter()
    arrived: deque[tuple[bytes, list[int]]] = deque()
    enclosed = AttachedDescriptors(3, arrived)
    with numbered_files(4) as files:
        for data, which_file in reads:
            enclosed.came([os.dup(files[which_file])] if which_file else [])
            arrived.extend(enclosed.messages(splitter, data))
        got = [(message, which(numbers)) for message, numbers in arrived]
    assert got == [(b"a", []), (b"b", []), (b"cde", [1]), (b"", []), (b"", [2]), (b"", [3])]


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_unsendable_descriptors_leave_the_channel_usable(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    large = b"x" * 100_000
    async with left, right:
        wrong: Any
        for value in (b"", b"small", large):
            for wrong, error in (([10**6], OSError), ([], ValueError), ("x", TypeError)):
                with pytest.raises(error):
                    await left.send_descriptors(value, wrong)
        text: Any = "text"
        with pytest.raises(TypeError):
            await left.send_descriptors(text, [0])
        with pytest.raises(ipcpipes.MessageTooLarge):
            await left.send_descriptors(bytes(left.max_size + 1), [0])
        with watched() as pipe:
            await left.send_descriptors(b"as it was", [pipe])
            message, numbers = await right.receive_descriptors()
            assert (message, len(numbers)) == (b"as it was", 1)
            close_all(numbers)


async def test_descriptor_limit_of_the_process_is_reported() -> None:
    for framing in (LengthPrefixed(), NATIVE):
        left, right = await channels((ipcpipes, ipcpipes), framing)
        async with left, right:
            with watched() as pipe:
                await left.send(b"before")
                await left.send_descriptors(b"x", [pipe] * 3)
                pipe.close_here()
                with at_most_open(2):
                    assert await right.receive_descriptors() == (b"before", [])
                    with pytest.raises(ipcpipes.DescriptorsLost, match="NOFILE"):
                        await right.receive_descriptors()
                assert not pipe.is_open_anywhere
                with pytest.raises(trio.BrokenResourceError, match="NOFILE"):
                    await right.receive()


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_receive_many_holds_one_message_of_descriptors(framing: Any) -> None:
    left, right = await channels((ipcpipes, ipcpipes), framing, most=2)
    async with left, right:
        with watched() as pipe:
            for number in range(50):
                await left.send_descriptors(b"%d" % number, [pipe] * 2)
            got: list[bytes] = []
            with at_most_open(2):
                while len(got) < 50:
                    got += await right.receive_many()
            assert got == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_senders_of_descriptors_keep_their_order(framing: Any) -> None:
    left, right = await channels((ipcpipes, ipcpipes), framing)
    async with left, right:
        with numbered_files(8) as files:
            # Together more than the system can hold.
            filling = left.max_size // 2 if framing == NATIVE else 3_000_000
            async with trio.open_nursery() as nursery:
                nursery.start_soon(left.send_many, [bytes(filling)] * 3)
                await trio.testing.wait_all_tasks_blocked()
                for number in range(8):
                    if number % 2:
                        nursery.start_soon(left.send_descriptors, b"%d" % number, [files[number]])
                    else:
                        nursery.start_soon(left.send, b"%d" % number)
                    await trio.testing.wait_all_tasks_blocked()
                for _ in range(3):
                    assert await right.receive() == bytes(filling)
                for number in range(8):
                    message, numbers = await right.receive_descriptors()
                    assert message == b"%d" % number
                    assert which(numbers) == ([number] if number % 2 else [])


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_cancelled_receive_loses_no_descriptor(framing: Any) -> None:
    left, right = await channels((ipcpipes, ipcpipes), framing)
    async with left, right:
        with numbered_files(60) as files:
            send, cancels = left.send_descriptors, itertools.cycle([0, 1, 2, 3])

            async def receive_until_cancelled() -> None:
                while True:
                    message, numbers = await right.receive_descriptors()
                    got.append((message, which(numbers)))

            got: list[tuple[bytes, list[int]]] = []
            async with trio.open_nursery() as nursery:
                for number in range(60):
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as receiving:
                            receiving.start_soon(receive_until_cancelled)
                            nursery.start_soon(send, b"%d" % number, [files[number]])
                            for _ in range(next(cancels)):
                                await trio.lowlevel.checkpoint()
                            scope.cancel()
            while len(got) < 60:
                message, numbers = await right.receive_descriptors()
                got.append((message, which(numbers)))
            assert sorted(got) == sorted((b"%d" % number, [number]) for number in range(60))


async def test_cancelled_send_is_whole_or_breaks_sending() -> None:
    for size in (10, 100_000, 3_000_000):
        for passes in range(3):
            left, right = await channels((ipcpipes, ipcpipes))
            async with left, right:
                with watched() as pipe:
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(left.send_descriptors, bytes(size), [pipe])
                            for _ in range(passes):
                                await trio.lowlevel.checkpoint()
                            scope.cancel()
                    pipe.close_here()
                    try:
                        await left.send(b"")
                    except trio.BrokenResourceError as error:
                        assert "cancelled" in str(error)
                        assert pipe.is_open_anywhere, "it went with the first byte"
                    else:
                        if pipe.is_open_anywhere:
                            message, numbers = await right.receive_descriptors()
                            assert message == bytes(size)
                            assert len(numbers) == 1
                            close_all(numbers)
                    await left.aclose()
                    await right.aclose()
                    assert not pipe.is_open_anywhere


async def test_send_cancelled_before_first_byte_sends_nothing() -> None:
    for size in (10, 100_000, 3_000_000):
        left, right = await channels((ipcpipes, ipcpipes))
        async with left, right:
            with watched() as pipe:
                clog(left.stream)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(left.send_descriptors, bytes(size), [pipe])
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
                pipe.close_here()
                assert not pipe.is_open_anywhere
                assert left._send_fault is None
                assert left.stream._send_fault is None


async def test_channel_closed_while_receiving_keeps_none() -> None:
    # The read has ended, and its task has not run yet when another task closes.
    for framing in (LengthPrefixed(), NATIVE):
        left, right = await channels((ipcpipes, ipcpipes), framing)
        async with left:
            with watched() as pipe:
                await left.send_descriptors(b"x", [pipe])
                pipe.close_here()
                outcomes: list[Any] = []

                async def receive(right: Any = right, outcomes: Any = outcomes) -> None:
                    try:
                        _, numbers = await right.receive_descriptors()
                    except trio.ClosedResourceError:
                        outcomes.append("closed")
                    else:
                        close_all(numbers)
                        outcomes.append(len(numbers))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await trio.lowlevel.checkpoint()
                    await right.aclose()
                assert outcomes in (["closed"], [1])
                assert not pipe.is_open_anywhere


def test_close_from_another_thread_keeps_no_descriptor() -> None:
    before = open_descriptors()
    for _ in range(50):
        with blocking.listen_messages(unique_endpoint(), max_descriptors=3) as listener:
            with blocking.connect_messages(listener.endpoint) as left:
                right = listener.accept()
                with watched() as pipe:

                    def receive(right: Any = right) -> None:
                        try:
                            while True:
                                _, numbers = right.receive_descriptors()
                                close_all(numbers)
                        except trio.ClosedResourceError:
                            pass

                    thread = Worker(receive)
                    for _ in range(5):
                        left.send_descriptors(b"x", [pipe] * 3)
                    right.close()
                    thread.result()
                    pipe.close_here()
                    assert not pipe.is_open_anywhere
    assert open_descriptors() == before


async def test_forgotten_channel_closes_its_descriptors(doors: Any) -> None:
    left, right = await channels(doors)
    with watched() as pipe:
        for _ in range(3):
            await left.send_descriptors(b"x", [pipe])
        pipe.close_here()
        await right.receive()
        await left.aclose()
        with pytest.warns(ResourceWarning, match="unclosed"):
            del right
            gc.collect()
        assert not pipe.is_open_anywhere


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_thousand_channels_leave_no_descriptor(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    async with left, right:
        before = open_descriptors()
        with watched() as pipe:
            for number in range(1000):
                await left.send_descriptors(b"x", [pipe] * (1 + number % 8))
                if number % 2:
                    assert await right.receive() == b"x"
                else:
                    _, numbers = await right.receive_descriptors()
                    assert len(numbers) == 1 + number % 8
                    close_all(numbers)
        assert open_descriptors() == before


@pytest.mark.parametrize("blocking_ends", [False, True])
async def test_foreign_streams_do_not_carry_descriptors(blocking_ends: bool) -> None:
    if blocking_ends:

        class Foreign:
            def send_all(self, data: object, *, timeout: object = None) -> None: ...
            def receive_some(self, max_bytes: object = None, *, timeout: object = None) -> bytes:
                return b""

            def close(self) -> None: ...

        end = Foreign()
        with pytest.raises(ipcpipes.NotSupported, match="not over"):
            blocking.MessageChannel(end, max_descriptors=1)
        with blocking.MessageChannel(end) as channel:
            with pytest.raises(ipcpipes.NotSupported, match="not over"):
                channel.send_descriptors(b"x", [0])
        return
    for make in (memory_stream_pair, trio.testing.memory_stream_pair):
        foreign: Any = make()
        with pytest.raises(ipcpipes.NotSupported, match="not over"):
            MessageChannel(foreign[0], max_descriptors=1)
        async with MessageChannel(foreign[0]) as over_foreign:
            with pytest.raises(ipcpipes.NotSupported, match="not over"):
                await over_foreign.send_descriptors(b"x", [0])
        await foreign[1].aclose()


async def test_message_channel_accepts_max_descriptors() -> None:
    client, server = await stream_pair()
    async with MessageChannel(client) as left, MessageChannel(server, max_descriptors=1) as right:
        with watched() as pipe:
            await left.send_descriptors(b"x", [pipe])
            message, (number,) = await right.receive_descriptors()
            assert pipe.comes_through(number)
            os.close(number)
            assert message == b"x"


async def test_max_descriptors_is_checked_first() -> None:
    async def nothing(channel: MessageChannel) -> None: ...

    wrong: Any
    nowhere = unique_endpoint()
    for wrong, error in ((-1, ValueError), (254, ValueError), (True, TypeError), (0.0, TypeError)):
        for door in (ipcpipes.connect_messages, ipcpipes.listen_messages):
            with pytest.raises(error, match="max_descriptors"):
                await door(nowhere, max_descriptors=wrong)
        with pytest.raises(error, match="max_descriptors"):
            await ipcpipes.serve_messages(nothing, nowhere, max_descriptors=wrong)
        for blocking_door in (blocking.connect_messages, blocking.listen_messages):
            with pytest.raises(error, match="max_descriptors"):
                blocking_door(nowhere, max_descriptors=wrong)
        client, server = await stream_pair()
        async with client, server:
            with pytest.raises(error, match="max_descriptors"):
                MessageChannel(client, max_descriptors=wrong)


async def test_serve_messages_accepts_max_descriptors() -> None:
    async def handler(channel: MessageChannel) -> None:
        message, numbers = await channel.receive_descriptors()
        os.write(numbers[0], message)
        close_all(numbers)
        await channel.send(b"done")

    with watched() as pipe:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: Any) -> None:
                await ipcpipes.serve_messages(
                    handler, unique_endpoint(), max_descriptors=1, task_status=task_status
                )

            listener = await nursery.start(serve)
            async with await ipcpipes.connect_messages(listener.endpoint) as client:
                await client.send_descriptors(b"written there", [pipe])
                assert await client.receive() == b"done"
            nursery.cancel_scope.cancel()
        assert os.read(pipe._receiving, 100) == b"written there"


async def test_rpc_server_drops_descriptors_and_continues() -> None:
    class Adder(rpc.Interface, uuid="6bffd098-a112-3610-9833-46c3f87e345a", version=(1, 0)):
        @rpc.operation
        async def add(self, left: int, right: int) -> int:
            raise NotImplementedError

    class Manager(Adder):
        async def add(self, left: int, right: int) -> int:
            return left + right

    with watched() as pipe, trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            where = unique_endpoint()
            await nursery.start(rpc.serve, Manager(), where)
            async with rpc.connect(Adder, where) as adder:
                assert await adder.add(1, 2) == 3
                before = open_descriptors()
                # Another client sends garbage with descriptors.
                async with await ipcpipes.connect(where) as stream:
                    await stream.send_descriptors(b"\xff" * 100, [pipe] * 100)
                    with trio.move_on_after(1):
                        while await stream.receive_some():
                            pass
                for number in range(20):
                    assert await adder.add(number, 1) == number + 1
                pipe.close_here()
                assert not pipe.is_open_anywhere
                assert len(open_descriptors() - before) <= 1
            nursery.cancel_scope.cancel()


async def test_sender_killed_inside_a_message_leaves_nothing(short_tmp: Path) -> None:
    path = short_tmp / "s"
    program = blocking_program(
        """
        reading, writing = os.pipe()
        stream = blocking.connect(sys.argv[1])
        stream.send_descriptors(b"\\5\\0\\0\\0whole", [writing])
        stream.send_descriptors(b"\\5\\0\\0\\0par", [writing] * 3)
        stream.receive_some()
        """,
        str(path),
    )
    before = open_descriptors()
    async with await ipcpipes.listen_messages(path, max_descriptors=3) as listener:
        with subprocess.Popen(program) as process, trio.fail_after(SECONDS):
            async with await listener.accept() as channel:
                message, numbers = await channel.receive_descriptors()
                assert (message, len(numbers)) == (b"whole", 1)
                close_all(numbers)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_ends_inside_a_message, channel)
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    process.kill()
    assert open_descriptors() == before


async def _ends_inside_a_message(channel: Any) -> None:
    with pytest.raises(trio.BrokenResourceError, match="inside a message"):
        await channel.receive_descriptors()


_ECHO = {
    "trio": trio_program("""
        async with await ipcpipes.connect_messages(sys.argv[1], max_descriptors=5) as channel:
            while True:
                try:
                    message, numbers = await channel.receive_descriptors()
                except Exception:
                    break
                await channel.send_descriptors(message.upper(), numbers[::-1])
                for number in numbers:
                    os.close(number)
        """),
    "blocking": blocking_program("""
        with blocking.connect_messages(sys.argv[1], max_descriptors=5) as channel:
            while True:
                try:
                    message, numbers = channel.receive_descriptors()
                except Exception:
                    break
                channel.send_descriptors(message.upper(), numbers[::-1])
                for number in numbers:
                    os.close(number)
        """),
}


@pytest.mark.parametrize("driver", _ECHO)
async def test_descriptors_return_from_another_process(driver: str, short_tmp: Path) -> None:
    path = short_tmp / "s"
    async with await ipcpipes.listen_messages(path, max_descriptors=5) as listener:
        with subprocess.Popen([*_ECHO[driver], str(path)]) as process:
            async with await listener.accept() as channel:
                with numbered_files(5) as files, trio.fail_after(SECONDS):
                    for number in range(1, 6):
                        for size in (1, 100_000):
                            await channel.send_descriptors(b"a" * size, files[:number])
                            message, numbers = await channel.receive_descriptors()
                            assert message == b"A" * size
                            assert which(numbers) == list(range(number))[::-1]
            assert process.wait(SECONDS) == 0
