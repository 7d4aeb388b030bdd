"""Descriptors over channels: each arrives with its message, and none stays open unnoticed."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections import deque
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed
from ipcpipes._os.handles.attached import AttachedDescriptors

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from .conftest import open_descriptors
from .descriptor_channels import KINDS, TWO_KINDS, channels, numbered_files, which
from .descriptors import PAIRS, at_most_open, close_all, raw, watched


@pytest.fixture(params=PAIRS)
def doors(request: pytest.FixtureRequest) -> Any:
    return request.param


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
