"""Children under trio: what connects them with their parent."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import ContentLength, Framing, LengthPrefixed, Lines, Native, open_child

from . import programs
from .conftest import WINDOWS
from .pairs import receive_exactly

FRAMINGS = [
    LengthPrefixed(),
    LengthPrefixed(width=2, byteorder="big", max_size=1000),
    Lines(b"\0\xff", max_size=77),
    ContentLength(),
]


if sys.platform in ("linux", "win32"):
    FRAMINGS.append(Native(max_size=4321))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "program", [programs.ECHO, programs.BLOCKING_ECHO], ids=["trio", "blocking"]
)
async def test_child_stream_carries_bytes_both_ways(program: Sequence[str]) -> None:
    async with open_child(program) as child:
        assert isinstance(child.stream, ipcpipes.Stream)
        data = bytes(range(256)) * 4096
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.stream.send_all, data)
            assert await receive_exactly(child.stream, len(data)) == data
        assert repr(child) == f"<ipcpipes Child process {child.pid}, running>"
    assert (child.status, child.reason) == (0, "exited")


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
@pytest.mark.parametrize(
    "program", [programs.MESSAGE_ECHO, programs.BLOCKING_MESSAGE_ECHO], ids=["trio", "blocking"]
)
async def test_child_channel_uses_the_parents_framing(
    program: Sequence[str], framing: Framing | Native
) -> None:
    async with open_child(program, framing=framing) as child:
        for message in (b"", b"one", b"x" * 70):
            await child.channel.send(message)
            assert await child.channel.receive() == message
    assert (child.status, child.reason) == (0, "exited")


async def test_child_channel_has_the_parents_max_size() -> None:
    program = programs.trio_program("""
    async with ipcpipes.parent_channel() as channel:
        await channel.send(repr(channel.framing).encode())
    """)
    framing = LengthPrefixed(width=2, byteorder="big", max_size=1000)
    async with open_child(program, framing=framing) as child:
        assert await child.channel.receive() == repr(framing).encode()


async def test_custom_framing_has_to_be_given_at_both_ends() -> None:
    class Mine(Lines):
        pass

    own = """
    class Mine(ipcpipes.Lines):
        pass
    """
    program = programs.trio_program(f"""
    {own}
    async with ipcpipes.parent_channel(Mine()) as channel:
        async for message in channel:
            await channel.send(message)
    """)
    async with open_child(program, framing=Mine()) as child:
        await child.channel.send(b"hello")
        assert await child.channel.receive() == b"hello"
    program = programs.trio_program("""
    try:
        async with ipcpipes.parent_channel():
            pass
    except TypeError as error:
        say(error)
    """)
    lines: list[str] = []
    async with open_child(program, framing=Mine(), stdout=lines.append):
        pass
    assert lines == [
        (
            "the parent uses a framing that it cannot describe; pass the same framing: "
            "parent_channel(framing)"
        )
    ]


@pytest.mark.parametrize(
    "program", [programs.PIPES, programs.BLOCKING_PIPES], ids=["trio", "blocking"]
)
async def test_child_has_several_pipes_by_name(program: Sequence[str]) -> None:
    wanted: dict[str, Any] = {"jobs": "send", "log": "receive", "talk": "duplex"}
    async with open_child(program, pipes=wanted) as child:
        pipes = child.pipes
        assert set(pipes) == set(wanted)
        assert not hasattr(pipes["jobs"], "receive_some")
        assert not hasattr(pipes["log"], "send_all")
        for word in (b"one", b"two"):
            await pipes["jobs"].send_all(word)
            assert await receive_exactly(pipes["log"], 3) == word.upper()
            await pipes["talk"].send_all(word)
            assert await receive_exactly(pipes["talk"], 3) == word
        await pipes["jobs"].aclose()
        assert await pipes["log"].receive_some() == b""
    assert (child.status, child.reason) == (0, "exited")


async def test_own_pipe_end_is_handed_over_and_closed_here() -> None:
    program = programs.trio_program("""
    async with ipcpipes.parent_pipes() as pipes:
        assert list(pipes) == ["results"]
        await pipes["results"].send_all(b"done")
    """)
    receive_end, send_end = ipcpipes.open_anonymous_pipe()
    async with receive_end:
        async with open_child(program, pipes={"results": send_end}) as child:
            assert child.pipes == {}
            with pytest.raises(trio.ClosedResourceError):
                await send_end.send_all(b"x")
            assert await receive_exactly(receive_end, 4) == b"done"
            # The classic bug: a copy of the child's end that stays here, and no end ever comes.
            assert await receive_end.receive_some() == b""


async def test_one_end_cannot_have_two_names() -> None:
    receive_end, send_end = ipcpipes.open_anonymous_pipe()
    async with receive_end, send_end:
        with pytest.raises(ValueError, match="under two names"):
            async with open_child(programs.ECHO, pipes={"a": send_end, "b": send_end}):
                pytest.fail("it started")


async def test_child_started_with_python_m(tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_text(
        "from ipcpipes import blocking\n"
        "with blocking.parent_stream() as stream:\n"
        "    for data in stream: stream.send_all(data.upper())\n"
    )
    async with open_child([sys.executable, "-m", "shouting"], cwd=tmp_path) as child:
        await child.stream.send_all(b"hello")
        assert await receive_exactly(child.stream, 5) == b"HELLO"


async def test_parent_and_child_know_each_others_pid() -> None:
    program = programs.trio_program("""
    async with ipcpipes.parent_stream() as stream:
        await stream.send_all(f"{stream.peer.pid} {stream.address} {stream.endpoint.kind}".encode())
    """)
    async with open_child(program) as child:
        assert child.stream.peer.pid == child.pid == child.process.pid
        pid, address = (await child.stream.receive_some()).decode().split(maxsplit=1)
        assert int(pid) == os.getpid()
        number = child.stream.endpoint.name
        assert address == f"{'handle' if WINDOWS else 'descriptor'} {number} inherited"


async def test_command_function_gets_the_handle_numbers() -> None:
    numbers: dict[str, str] = {}

    def command(given: Any) -> Sequence[str]:
        numbers.update(given)
        return programs.blocking_program(
            """
            endpoint = ipcpipes.Endpoint.inherited(sys.argv[1])
            assert sys.argv[1] == os.environ["IPCPIPES_STREAM"]
            with blocking.connect(endpoint) as stream:
                stream.send_all(b"found")
            """,
            given["stream"],
        )

    async with open_child(command) as child:
        assert await receive_exactly(child.stream, 5) == b"found"
    assert list(numbers) == ["stream"]
    assert numbers["stream"].isdigit()


@pytest.mark.skipif(WINDOWS, reason="a POSIX shell")
async def test_a_shell_script_reads_the_number_from_its_environment() -> None:
    script = (
        'read line < "/dev/fd/$IPCPIPES_PIPE_JOBS"; echo "got $line" > "/dev/fd/$IPCPIPES_PIPE_LOG"'
    )
    async with open_child(["sh", "-c", script], pipes={"jobs": "send", "log": "receive"}) as child:
        await child.pipes["jobs"].send_all(b"hello\n")
        assert await receive_exactly(child.pipes["log"], 10) == b"got hello\n"
