"""Sources, sinks and elements that are refused."""

from __future__ import annotations

import io
from array import array
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc

from .rpc_drivers import Driver
from .rpc_feeding import all_numbers, generated, generated_slowly
from .rpc_over_links import (
    calling,
    memory,
)
from .rpc_over_managers import drained, given_back


class Colour(IntEnum):
    RED = 1


async def test_elements_of_another_type_are_refused(driver: Driver) -> None:
    async with driver.calling(into=drained, octets_into=drained, plain=given_back) as acc:
        for bad, kind in [
            ([2**31], OverflowError),
            (["1"], TypeError),
            ([1.5], TypeError),
            ([None], TypeError),
            (generated([1, 2, "3"]), TypeError),
            (b"12345", ValueError),
            (generated([b"123"]), ValueError),
            (io.BytesIO(b"12345"), ValueError),
            (array("q", [1]), TypeError),
            (array("f", [1]), TypeError),
            (lambda most: "text", TypeError),
            (lambda most: None, TypeError),
        ]:
            with pytest.raises(kind):
                await acc.into(numbers=bad)
        with pytest.raises((ValueError, OverflowError)):
            await acc.octets_into(data=[256])
        assert await acc.into(numbers=[Colour.RED, True]) == [1, 1]
        assert await acc.plain("still there") == "still there"


async def test_elements_of_another_type_in_an_async_source_are_refused() -> None:
    async with calling(into=drained) as acc:
        with pytest.raises(TypeError):
            await acc.into(numbers=generated_slowly([1, 2, "3"]))


class Wrapper:
    """What ``tempfile.TemporaryFile`` returns on Windows: not a file itself."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


NO_SOURCES: dict[str, Any] = {
    "None": None,
    "a number": 5,
    "text": "text",
    "an object": object(),
    "a text file": io.StringIO("text"),
    "a wrapper of a text file": Wrapper(io.StringIO("text")),
    "a control without pull": rpc.PipeControl(push=print),
}


NO_SINKS: dict[str, Any] = {
    "None": None,
    "a number": 5,
    "bytes": b"bytes",
    "text": "text",
    "a tuple": (1, 2),
    "an object": object(),
    "a text file": io.StringIO(),
    "a wrapper of a text file": Wrapper(io.StringIO()),
    "a control without push": rpc.PipeControl(pull=len),
}


@pytest.mark.parametrize("bad", NO_SOURCES.values(), ids=NO_SOURCES)
async def test_a_wrong_source_is_refused_before_anything_is_sent(driver: Driver, bad: Any) -> None:
    served: list[Any] = []
    async with driver.calling(into=served.append, both=served.append, plain=given_back) as acc:
        with pytest.raises(TypeError, match="pipe numbers"):
            await acc.into(numbers=bad)
        with pytest.raises(TypeError, match="pipe numbers"):
            acc.into.begin(numbers=bad)
        with pytest.raises(TypeError, match="pipe numbers"):
            await acc.both(numbers=(bad, []))
        assert await acc.plain(1) == 1
    assert not served


@pytest.mark.parametrize("bad", NO_SINKS.values(), ids=NO_SINKS)
async def test_a_wrong_sink_is_refused_before_anything_is_sent(driver: Driver, bad: Any) -> None:
    served: list[Any] = []
    async with driver.calling(out=served.append, both=served.append, plain=given_back) as acc:
        with pytest.raises(TypeError, match="pipe numbers"):
            await acc.out(numbers=bad)
        with pytest.raises(TypeError, match="pipe numbers"):
            await acc.both(numbers=([], bad))
        assert await acc.plain(1) == 1
    assert not served


@pytest.mark.parametrize("bad", [[], b"", (1, 2, 3), [[], []], None, print])
async def test_a_pipe_in_both_directions_needs_a_source_and_a_sink(
    driver: Driver, bad: Any
) -> None:
    served: list[Any] = []
    async with driver.calling(both=served.append, plain=given_back) as acc:
        with pytest.raises(TypeError, match="pipe numbers"):
            await acc.both(numbers=bad)
        assert await acc.plain(1) == 1
    assert not served


async def test_a_text_file_of_trio_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("text")
    async with calling() as acc:
        async with await trio.open_file(path) as file:
            with pytest.raises(TypeError, match="binary file"):
                await acc.octets_into(data=file)


@pytest.mark.parametrize("count", [-1, 10**6, None, "1", 1.0])
async def test_a_wrong_count_of_a_pipe_control_is_refused(driver: Driver, count: Any) -> None:
    async with driver.calling(into=drained) as acc:
        with pytest.raises(ValueError, match="pull returned"):
            await acc.into(numbers=rpc.PipeControl(pull=lambda buffer: count))


async def test_wrong_memory_of_a_pipe_control_is_refused(driver: Driver) -> None:
    async with driver.calling(out=all_numbers) as acc:
        with pytest.raises(TypeError):
            await acc.out(numbers=rpc.PipeControl(push=print, alloc=lambda size: bytes(size)))
        with memory():
            await acc.out(numbers=rpc.PipeControl(push=print, alloc=lambda size: bytearray(1)))
