"""System errors that the peer does not cause break a stream, with both drivers."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE

from . import drivers
from .channels import has_native
from .descriptors import connected, raw

if sys.platform == "win32":
    pytest.skip("the error codes of Windows are tested with streams", allow_module_level=True)

from ipcpipes._os.posix.blocking import stream as posix_blocking

DOORS = pytest.mark.parametrize("doors", [ipcpipes, drivers], ids=["trio", "blocking"])
SECONDS = 60


def failing(*_: object) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def failing_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Makes reads fail from the call on; to be called when there is a connection."""
    with monkeypatch.context() as patch:

        def begin() -> None:
            for module, name in (
                (os, "read"),
                (os, "readv"),
                (posix_blocking, "_read"),
                (posix_blocking, "_readv"),
            ):
                patch.setattr(module, name, failing)

        yield begin


@DOORS
@pytest.mark.parametrize("method", ["receive_some", "receive_into"])
async def test_a_failed_read_breaks_a_stream(doors: Any, failing_reads: Any, method: str) -> None:
    client, server = await connected((doors, doors))
    async with client, server:
        await server.send_all(b"x")
        failing_reads()
        arguments = (bytearray(10),) if method == "receive_into" else ()
        with pytest.raises(trio.BrokenResourceError, match="Input/output") as caught:
            await getattr(client, method)(*arguments)
        assert isinstance(caught.value.__cause__, OSError)


async def test_a_failed_read_breaks_a_stream_of_remote_calls(failing_reads: Any) -> None:
    client, server = await connected((ipcpipes, ipcpipes))
    async with client, server:
        await server.send_all(b"x")
        failing_reads()
        for memory in (None, memoryview(bytearray(10))):
            with pytest.raises(trio.BrokenResourceError, match="Input/output"):
                await client._receive_buffered(lambda memory=memory: memory, 10)


@DOORS
@pytest.mark.parametrize("end", ["receive", "send"])
async def test_a_failed_operation_breaks_an_anonymous_pipe(
    doors: Any, failing_reads: Any, end: str
) -> None:
    opener = ipcpipes if doors is ipcpipes else ipcpipes.blocking
    receiving, sending = opener.open_anonymous_pipe()
    if doors is drivers:
        receiving, sending = drivers.TrioStream(receiving), drivers.TrioStream(sending)
    async with receiving, sending:
        await sending.send_all(b"x")
        if end == "receive":
            failing_reads()
            with pytest.raises(trio.BrokenResourceError, match="Input/output"):
                await receiving.receive_some()
        else:
            number = getattr(getattr(sending, "blocking", sending), "_send_number", None)
            number = sending._number if number is None else number
            reading = os.open(os.devnull, os.O_RDONLY)
            os.dup2(reading, number, inheritable=False)
            os.close(reading)
            with pytest.raises(trio.BrokenResourceError, match="Bad file descriptor"):
                await sending.send_all(b"x")


@DOORS
@pytest.mark.parametrize(
    "framing",
    [ipcpipes.LengthPrefixed(), pytest.param(NATIVE, marks=has_native)],
    ids=["framed", "native"],
)
async def test_a_failed_read_breaks_a_channel(doors: Any, failing_reads: Any, framing: Any) -> None:
    client, server = await connected((doors, doors), "_messages", framing=framing)
    async with client, server:
        await server.send(b"x")
        failing_reads()
        with pytest.raises(trio.BrokenResourceError, match="Input/output"):
            await client.receive()


@DOORS
async def test_a_failed_send_breaks_a_stream(doors: Any) -> None:
    client, server = await connected((doors, doors))
    async with client, server:
        with raw(client) as other:
            number = client._number if doors is ipcpipes else client.blocking._number
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number, inheritable=False)
            os.close(null)
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError, match="non-socket"):
                    await client.send_all(b"x")
            assert other.fileno() != number
