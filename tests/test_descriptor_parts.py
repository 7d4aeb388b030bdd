"""Descriptors that come with a part of a message: how long they are kept, and how many."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import FramingError, LengthPrefixed, blocking
from ipcpipes._os.handles import pending as unfetched

from . import drivers
from .conftest import WINDOWS

SECONDS = 60
DOORS = pytest.mark.parametrize("doors", [ipcpipes, drivers], ids=["trio", "blocking"])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfetched, "PART_SECONDS", 0.2)


if sys.platform != "win32":

    def dead_client(path: Path, data: bytes, count: int = 1) -> None:
        """Sends its own end of the connection with a part of a message, and closes."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(os.fspath(path))
            socket.send_fds(peer, [data], [peer.fileno()] * count)

    @DOORS
    async def test_a_dead_client_does_not_keep_its_connection(
        short_tmp: Path, hasty: None, doors: Any
    ) -> None:
        path = short_tmp / "s"
        async with await doors.listen_messages(path, max_descriptors=1) as listener:
            dead_client(path, b"\x05\x00\x00\x00par")
            async with await listener.accept() as server:
                for _ in range(2):
                    with (
                        trio.fail_after(SECONDS),
                        pytest.raises(
                            trio.BrokenResourceError, match="a part of a message, and then no byte"
                        ) as caught,
                    ):
                        await server.receive_descriptors()
                    assert isinstance(caught.value.__cause__, FramingError)
                with pytest.raises(trio.BrokenResourceError):
                    await server.receive()

    @DOORS
    async def test_a_message_that_makes_progress_may_take_longer(
        short_tmp: Path, hasty: None, doors: Any
    ) -> None:
        path = short_tmp / "s"
        async with await doors.listen_messages(path, max_descriptors=1) as listener:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(os.fspath(path))
                async with await listener.accept() as server:
                    wire = b"\x05\x00\x00\x00parts"
                    socket.send_fds(peer, [wire[:1]], [peer.fileno()])
                    with trio.move_on_after(0.15):
                        await server.receive()
                    for byte in wire[1:]:
                        # There when it is looked for, however late that is.
                        await trio.sleep(0.1)
                        peer.sendall(bytes([byte]))
                        with trio.move_on_after(0.05):
                            message, (number,) = await server.receive_descriptors()
                            os.close(number)
                    assert message == b"parts"

    @DOORS
    async def test_all_channels_share_a_limit_of_kept_descriptors(
        short_tmp: Path, monkeypatch: pytest.MonkeyPatch, doors: Any
    ) -> None:
        monkeypatch.setattr(unfetched, "most_in_parts", lambda: 5)
        path = short_tmp / "s"
        wire = b"\x05\x00\x00\x00par"
        async with await doors.listen_messages(path, max_descriptors=3) as listener:
            servers = []
            for _ in range(2):
                dead_client(path, wire, 3)
                servers.append(await listener.accept())
            async with servers[0], servers[1]:
                with trio.move_on_after(0.2):
                    await servers[0].receive()
                with (
                    trio.fail_after(SECONDS),
                    pytest.raises(trio.BrokenResourceError, match="may hold at most 5 descriptors"),
                ):
                    await servers[1].receive()
                await servers[0].aclose()
                # Its share of the limit is free.
                with socket.socket(socket.AF_UNIX) as peer:
                    peer.connect(os.fspath(path))
                    async with await listener.accept() as server:
                        socket.send_fds(peer, [wire], [peer.fileno()] * 3)
                        with trio.move_on_after(0.2):
                            await server.receive()
                        peer.sendall(b"ts")
                        assert await server.receive() == b"parts"
        assert not unfetched._in_parts

    def test_polling_notices_an_overdue_part(short_tmp: Path, hasty: None) -> None:
        """A receive with ``timeout=0`` never waits as long as a part may take."""
        path = short_tmp / "s"
        with blocking.listen_messages(path, max_descriptors=1) as listener:
            dead_client(path, b"\x05\x00\x00\x00par")
            with listener.accept() as server, pytest.raises(trio.BrokenResourceError):
                while True:
                    with contextlib.suppress(TimeoutError):
                        server.receive(timeout=0)


@pytest.mark.skipif(not WINDOWS, reason="here the system passes descriptors along with data")
@DOORS
@pytest.mark.parametrize("framing", [LengthPrefixed(), ipcpipes.NATIVE], ids=["framed", "native"])
async def test_handles_without_their_message_break_the_channel(
    hasty: None, doors: Any, framing: Any
) -> None:
    listener = await doors.listen_messages(
        ipcpipes.testing.unique_endpoint(), framing=framing, max_descriptors=1
    )
    async with listener:
        client: Any = await ipcpipes.connect_messages(
            listener.endpoint, framing=framing, max_descriptors=1
        )
        with_headers = client._with_headers
        client._with_headers = lambda *given: with_headers(*given)[:1]  # the header alone
        async with client, await listener.accept() as server:
            reading, writing = os.pipe()
            os.close(reading)
            with io.FileIO(writing, "w") as file:
                await client.send_descriptors(b"x", [file])
            with (
                trio.fail_after(SECONDS),
                pytest.raises(
                    trio.BrokenResourceError, match="a part of a message, and then no byte"
                ),
            ):
                await server.receive_descriptors()
