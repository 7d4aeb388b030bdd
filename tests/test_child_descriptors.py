"""Open files between a parent and its child, over the channel that both have."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, blocking

from . import programs
from .processes import SECONDS

MAKING_A_FILE = """
def opened(descriptor):
    if sys.platform == "win32":
        import msvcrt
        descriptor = msvcrt.open_osfhandle(descriptor, os.O_RDONLY)
    return open(descriptor, "rb")
"""
TRIO = programs.trio_program(
    MAKING_A_FILE
    + """
async with ipcpipes.parent_channel() as channel:
    message, descriptors = await channel.receive_descriptors()
    with opened(*descriptors) as file:
        await channel.send_descriptors(message + b": " + file.read(), [file])
    await channel.receive()
"""
)
BLOCKING = programs.blocking_program(
    MAKING_A_FILE
    + """
with blocking.parent_channel() as channel:
    message, descriptors = channel.receive_descriptors()
    with opened(*descriptors) as file:
        channel.send_descriptors(message + b": " + file.read(), [file])
    channel.receive()
"""
)
PROGRAMS = pytest.mark.parametrize(
    "program", [pytest.param(TRIO, id="trio"), pytest.param(BLOCKING, id="blocking")]
)
FRAMINGS = pytest.mark.parametrize("framing", [LengthPrefixed(), NATIVE], ids=["framed", "native"])


def contents(descriptor: int) -> bytes:
    """All that is in the file; it is closed."""
    if sys.platform == "win32":
        import msvcrt

        descriptor = msvcrt.open_osfhandle(descriptor, os.O_RDONLY)
    with open(descriptor, "rb") as file:
        file.seek(0)
        return file.read()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"handed over")
    return path


@FRAMINGS
@PROGRAMS
async def test_they_go_in_both_directions(program: list[str], framing: Any, path: Path) -> None:
    with trio.fail_after(SECONDS):
        async with ipcpipes.open_child(program, framing=framing, max_descriptors=1) as child:
            with path.open("rb") as file:
                await child.channel.send_descriptors(b"read it", [file])
            message, (descriptor,) = await child.channel.receive_descriptors()
            assert message == b"read it: handed over"
            assert contents(descriptor) == b"handed over"
            await child.channel.send(b"that is all")
            assert await child.wait() == 0


@FRAMINGS
@PROGRAMS
def test_descriptors_travel_in_the_blocking_driver(
    program: list[str], framing: Any, path: Path
) -> None:
    with blocking.open_child(program, framing=framing, max_descriptors=1) as child:
        with path.open("rb") as file:
            child.channel.send_descriptors(b"read it", [file], timeout=SECONDS)
        message, (descriptor,) = child.channel.receive_descriptors(timeout=SECONDS)
        assert message == b"read it: handed over"
        assert contents(descriptor) == b"handed over"
        child.channel.send(b"that is all")
        assert child.wait(timeout=SECONDS) == 0


async def said(program: Any, **options: Any) -> bytes:
    with trio.fail_after(SECONDS):
        async with ipcpipes.open_child(program, framing=LengthPrefixed(), **options) as child:
            return await child.channel.receive()


ASKING = """
try:
    with blocking.parent_channel(max_descriptors={}) as channel:
        channel.send(b"as many as may be")
except TypeError as error:
    print(error)
"""
OUTPUT = (
    "the parent opened this channel with max_descriptors={}; max_descriptors must be 0 at both "
    "ends, or more than 0 at both ends"
)


@pytest.mark.parametrize(("given", "told"), [(0, 0), (3, 1), (None, 0), (None, 7)])
async def test_child_can_set_its_own_max_descriptors(given: int | None, told: int) -> None:
    program = programs.blocking_program(ASKING.format(given))
    assert await said(program, max_descriptors=told) == b"as many as may be"


@pytest.mark.parametrize(("given", "told"), [(0, 1), (1, 0)])
async def test_max_descriptors_is_zero_at_both_ends_or_none(given: int, told: int) -> None:
    program = programs.blocking_program(ASKING.format(given))
    lines: list[str] = []
    with trio.fail_after(SECONDS):
        async with ipcpipes.open_child(
            program, framing=LengthPrefixed(), max_descriptors=told, stdout=lines.append
        ) as child:
            await child.wait()
    assert lines == [OUTPUT.format(told)]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_descriptors": 1}, TypeError),
        ({"max_descriptors": 1, "pipes": {"one": "send"}}, TypeError),
        ({"max_descriptors": -1, "framing": LengthPrefixed()}, ValueError),
        ({"max_descriptors": 254, "framing": LengthPrefixed()}, ValueError),
        ({"max_descriptors": "1", "framing": LengthPrefixed()}, TypeError),
    ],
)
async def test_wrong_max_descriptors_is_refused(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        async with ipcpipes.open_child(programs.HANG, **options):
            pass
    with pytest.raises(error), blocking.open_child(programs.HANG, **options):
        pass


def test_older_parent_means_no_descriptors() -> None:
    """It does not tell how many."""
    program = programs.blocking_program("""
    import json
    told = json.loads(os.environ["IPCPIPES_PARENT"])
    del told["max_descriptors"]
    os.environ["IPCPIPES_PARENT"] = json.dumps(told)
    with blocking.parent_channel() as channel:
        channel.send(b"so it is")
    """)
    with blocking.open_child(program, framing=LengthPrefixed()) as child:
        assert child.channel.receive(timeout=SECONDS) == b"so it is"
