"""Windows: handles go over channels, each with its message, and none stays open."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import LengthPrefixed, Lines, blocking
from ipcpipes.testing import unique_endpoint

if sys.platform != "win32":
    pytest.skip("elsewhere the system passes them", allow_module_level=True)

from ipcpipes._ffi import lib
from ipcpipes._os.windows import calls

from .descriptors import PAIRS
from .handle_channels import KINDS, Handles, channels, watched
from .handles import open_handles
from .processes import SECONDS


@pytest.fixture(params=PAIRS)
def doors(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=KINDS)
def framing(request: pytest.FixtureRequest) -> Any:
    return request.param


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
