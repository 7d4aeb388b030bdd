"""The messages between a master and its workers: how they are framed, and descriptors with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, ContentLength, LengthPrefixed, Lines, WorkerGroup

from . import programs
from .processes import SECONDS
from .test_child_descriptors import MAKING_A_FILE, contents
from .test_worker_group import JOBS, Heard, running

LARGE = 17 * 2**20


@pytest.mark.parametrize(
    "framing", [LengthPrefixed(width=8, max_size=2 * LARGE), ContentLength(max_size=2 * LARGE)]
)
async def test_group_message_may_have_the_framings_max_size(framing: Any) -> None:
    heard = Heard()
    async with running(JOBS, 1, on_message=heard, framing=framing) as group:
        message = bytes(LARGE)
        await group.send(message)
        (answer,) = await heard.until(1)
        assert answer == message + b" by 0"


async def test_group_message_limit_is_16_mib_by_default() -> None:
    async with running(JOBS, 1) as group:
        with pytest.raises(ipcpipes.MessageTooLarge):
            await group.send(bytes(LARGE))


@pytest.mark.parametrize("framing", [LengthPrefixed(width=1, max_size=255), Lines(), NATIVE])
async def test_group_takes_any_framing_with_empty_messages(framing: Any) -> None:
    if framing is NATIVE and sys.platform == "darwin":
        pytest.skip("there is no such thing")
    heard = Heard()
    async with running(JOBS, 2, on_message=heard, framing=framing) as group:
        await group.send(b"job", worker=1)
        assert await heard.until(1) == [b"job by 1"]
        await group.roll_over()


class Stars(ipcpipes.Framing):
    """Messages between stars. The splitter drops empty messages."""

    max_size = 1000

    def frame(self, message: Any) -> list[bytes]:
        return [bytes(message) + b"*"]

    def splitter(self) -> Any:
        return _StarSplitter()


class _StarSplitter(ipcpipes.Splitter):
    def __init__(self) -> None:
        self.rest = b""

    def split(self, data: bytes) -> list[bytes]:
        *messages, self.rest = (self.rest + data).split(b"*")
        return [message for message in messages if message]

    def end(self) -> None:
        pass


class Dots(Stars):
    """The same with empty ones, for which the worker has to be given a framing."""

    def splitter(self) -> Any:
        return _DotSplitter()


class _DotSplitter(_StarSplitter):
    def split(self, data: bytes) -> list[bytes]:
        *messages, self.rest = (self.rest + data).split(b"*")
        return messages


def test_a_framing_without_empty_messages_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must carry empty messages, and .*Stars"):
        WorkerGroup(programs.HANG, 1, framing=Stars())
    with pytest.raises(TypeError, match="framing must be"):
        WorkerGroup(programs.HANG, 1, framing="lines")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_descriptors"):
        WorkerGroup(programs.HANG, 1, max_descriptors=254)


async def test_worker_needs_the_custom_framing() -> None:
    program = programs.trio_program("""
    sys.path.insert(0, os.environ["TESTS"])
    from tests.test_worker_group_channel import Dots
    async with ipcpipes.group_worker(framing=Dots()) as worker:
        async for message in worker:
            await worker.send(message.upper())
    """)
    heard = Heard()
    env = {**os.environ, "TESTS": str(Path(__file__).resolve().parent.parent)}
    async with running(program, 1, on_message=heard, framing=Dots(), env=env) as group:
        await group.send(b"in dots")
        assert await heard.until(1) == [b"IN DOTS"]


# Descriptors

READER = programs.trio_program(
    MAKING_A_FILE
    + """
async with ipcpipes.group_worker() as worker:
    while True:
        try:
            message, descriptors = await worker.receive_descriptors()
        except trio.EndOfChannel:
            break
        for descriptor in descriptors:
            with opened(descriptor) as file:
                await worker.send_descriptors(message + b": " + file.read(), [file])
        if not descriptors:
            await worker.send(b"none with " + message)
"""
)


class HeardWithDescriptors(Heard):
    def __init__(self) -> None:
        super().__init__()
        self.contents: list[bytes] = []

    async def __call__(  # type: ignore[override]
        self, number: int, message: bytes, descriptors: list[int]
    ) -> None:
        self.contents += map(contents, descriptors)
        await super().__call__(number, message)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"handed over")
    return path


@pytest.fixture
def nothing() -> Iterator[Any]:
    with open(os.devnull, "rb") as file:
        yield file


async def test_they_go_in_both_directions(path: Path) -> None:
    heard = HeardWithDescriptors()
    async with running(READER, 2, on_message=heard, max_descriptors=1) as group:
        with path.open("rb") as file:
            await group.send_descriptors(b"read it", [file], worker=1)
        assert await heard.until(1) == [b"read it: handed over"]
        assert heard.contents == [b"handed over"]
        await group.send(b"a message")
        assert (await heard.until(3))[:2] == [b"none with a message"] * 2


async def test_receive_closes_unwanted_descriptors(nothing: Any) -> None:
    """At either end, descriptors that the program does not take are closed."""
    program = programs.trio_program("""
    async with ipcpipes.group_worker() as worker:
        async for message in worker:
            with open(os.devnull, "rb") as file:
                for _ in range(20):
                    await worker.send_descriptors(message, [file])
            await worker.send(b"%d" % len(os.listdir("/proc/self/fd")))
    """)
    if sys.platform != "linux":
        pytest.skip("it counts in /proc")
    before = len(os.listdir("/proc/self/fd"))
    answers: list[int] = []
    answered = trio.Event()

    async def on_message(number: int, message: bytes, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        if message.isdigit():
            answers.append(int(message))
            answered.set()

    async with running(program, 1, on_message=on_message, max_descriptors=1) as group:
        counted = []
        for _ in range(3):
            answered = trio.Event()
            await group.send_descriptors(b"x", [nothing], worker=0)
            with trio.fail_after(SECONDS):
                await answered.wait()
            counted.append(len(os.listdir("/proc/self/fd")))
    assert len(set(answers)) == len(set(counted)) == 1
    async with running(program, 1, max_descriptors=1) as group:
        await group.send_descriptors(b"x", [nothing], worker=0)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_serve_passes_descriptors_to_on_message(
    endpoint: ipcpipes.Endpoint, path: Path
) -> None:
    program = programs.trio_program(
        MAKING_A_FILE
        + """
async with ipcpipes.group_worker() as worker:
    async def heed(message, descriptors):
        for descriptor in descriptors:
            with opened(descriptor) as file:
                await worker.send(message + b": " + file.read())
    await worker.serve(None, heed)
"""
    )
    heard = HeardWithDescriptors()
    options: Any = {"endpoint": endpoint, "on_message": heard, "max_descriptors": 1}
    async with running(program, 1, **options) as group:
        with path.open("rb") as file:
            await group.send_descriptors(b"read it", [file], worker=0)
        assert await heard.until(1) == [b"read it: handed over"]


async def test_descriptors_need_max_descriptors() -> None:
    async with running(JOBS, 1) as group:
        with pytest.raises(RuntimeError, match="made without max_descriptors="):
            await group.send_descriptors(b"x", [0], worker=0)


async def test_unsendable_descriptors_raise_at_the_sender() -> None:
    heard = HeardWithDescriptors()
    async with running(READER, 1, on_message=heard, max_descriptors=1) as group:
        with pytest.raises(ValueError, match="cannot be empty"):
            await group.send_descriptors(b"", [0], worker=0)
        with pytest.raises(IndexError):
            await group.send_descriptors(b"x", [0], worker=1)
        with pytest.raises(ValueError, match="1 to 253 descriptors"):
            await group.send_descriptors(b"x", [], worker=0)
        await group.send(b"all is well")
        assert await heard.until(1) == [b"none with all is well"]


async def test_client_accepted_by_the_master_is_handed_to_a_worker() -> None:
    if sys.platform == "win32":
        pytest.skip("Windows passes no pipes that are connected with overlapped operations")
    import socket

    program = programs.trio_program("""
    import socket
    async with ipcpipes.group_worker() as worker:
        async def heed(message, descriptors):
            with socket.socket(fileno=descriptors[0]) as client:
                client.sendall(message)
        while True:
            try:
                await heed(*await worker.receive_descriptors())
            except trio.EndOfChannel:
                break
    """)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with running(program, 1, max_descriptors=1) as group:
            await group.send_descriptors(b"from the worker", [theirs], worker=0)
            theirs.close()
            ours.settimeout(SECONDS)
            assert await trio.to_thread.run_sync(ours.recv, 100) == b"from the worker"
