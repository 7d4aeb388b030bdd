"""Framings of the user: one raises while its channel is made, and the connection is closed; one
receives in place.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterable
from typing import Any

import pytest

import ipcpipes
from ipcpipes import LengthPrefixed
from ipcpipes.framing import Splitter
from ipcpipes.testing import unique_endpoint

from . import drivers

both_drivers = pytest.mark.parametrize("doors", [ipcpipes, drivers], ids=["trio", "blocking"])


class Failing(LengthPrefixed):
    def splitter(self) -> Any:
        raise ArithmeticError("no splitter")


@both_drivers
async def test_a_connection_is_closed_if_its_framing_raises(doors: Any) -> None:
    async with await doors.listen(unique_endpoint()) as listener:
        with warnings.catch_warnings(record=True) as unclosed:
            warnings.simplefilter("always", ResourceWarning)
            with pytest.raises(ArithmeticError):
                await doors.connect_messages(listener.endpoint, framing=Failing())
            gc.collect()
    assert [str(one.message) for one in unclosed] == []


@both_drivers
async def test_an_accepted_connection_is_closed_if_its_framing_raises(doors: Any) -> None:
    async with await doors.listen_messages(unique_endpoint(), framing=Failing()) as listener:
        async with await doors.connect(listener.endpoint) as client:
            with pytest.raises(ArithmeticError):
                await listener.accept()
            assert await client.receive_some() == b""


class InPlace(Splitter):
    """Messages after a length of one byte. While a message is incomplete, bytes may come only into
    the memory for its rest.
    """

    def __init__(self) -> None:
        self.body = bytearray()
        self.free = memoryview(b"")

    def split(self, data: bytes) -> Iterable[bytes]:
        assert not self.free, "these bytes belong into the memory"
        messages = []
        while data:
            size, data = data[0], data[1:]
            self.body = bytearray(size)
            count = min(size, len(data))
            self.body[:count], data = data[:count], data[count:]
            self.free = memoryview(self.body)[count:]
            messages += self.complete()
        return messages

    def complete(self) -> list[bytes]:
        return [] if self.free else [bytes(self.body)]

    def get_buffer(self) -> memoryview | None:
        return self.free or None

    def buffer_updated(self, nbytes: int) -> Iterable[bytes]:
        self.free = self.free[nbytes:]
        return self.complete()

    def end(self) -> None:
        pass


class InPlaceFraming(LengthPrefixed):
    def splitter(self) -> Any:
        return InPlace()


@both_drivers
async def test_the_rest_of_a_message_comes_into_its_memory(doors: Any) -> None:
    framing = InPlaceFraming(width=1)
    async with await doors.listen(unique_endpoint()) as listener:
        async with await doors.connect_messages(listener.endpoint, framing=framing) as client:
            async with await listener.accept() as stream:
                await stream.send_all(b"\x01a\x04bc")
                assert await client.receive() == b"a"
                await stream.send_all(b"de\x01f")
                assert await client.receive() == b"bcde"
                assert await client.receive() == b"f"
