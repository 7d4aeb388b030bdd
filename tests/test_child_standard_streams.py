"""A child's standard streams, environment and working directory."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from ipcpipes import open_child

from . import programs
from .conftest import WINDOWS
from .pairs import receive_all


async def lines_of(body: str, stream: str = "stdout", **options: Any) -> list[str]:
    lines: list[str] = []
    options[stream] = lines.append
    async with open_child(programs.plain_program(body), **options) as child:
        await child.wait()
    return lines


def written(*pieces: bytes, stream: str = "stdout") -> str:
    return "\n".join(
        f"sys.{stream}.buffer.write({piece!r}); sys.{stream}.flush(); time.sleep(0.05)"
        for piece in pieces
    )


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"one\r\ntwo\r\n"], ["one", "two"]),
        ([b"10%\r20%\rdone\n"], ["10%", "20%", "done"]),
        ([b"one\r", b"\ntwo\r", b"three"], ["one", "two", "three"]),
        ([b"o", b"n", b"e\n\n", b"two"], ["one", "", "two"]),
        ([b""], []),
        (["grün".encode(), b" \xff\n"], ["grün �"]),
    ],
)
async def test_output_is_cut_into_lines(pieces: Iterable[bytes], lines: list[str]) -> None:
    assert await lines_of(written(*pieces)) == lines


async def test_endless_line_arrives_in_pieces() -> None:
    lines = await lines_of('say("x" * 65536 + "y")')
    assert [len(line) for line in lines] == [65536, 1]


async def test_piece_never_ends_inside_a_character() -> None:
    lines = await lines_of('sys.stdout.buffer.write(("x" + "\\u00e9" * 100000).encode())')
    assert "".join(lines) == "x" + "é" * 100000


async def test_stderr_alone_and_merged_with_stdout() -> None:
    assert await lines_of(written(b"oh\n", stream="stderr"), "stderr") == ["oh"]
    body = written(b"out\n") + "\n" + written(b"err\n", stream="stderr")
    assert await lines_of(body, stderr=subprocess.STDOUT) == ["out", "err"]


async def test_standard_streams_can_be_files() -> None:
    program = programs.plain_program("say(sys.stdin.readline().upper().strip(), 'and the rest')")
    async with open_child(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=lines_unexpected
    ) as child:
        stdin, stdout = child.process.stdin, child.process.stdout
        assert stdin is not None
        assert stdout is not None
        await stdin.send_all(b"hello\n")
        assert (await receive_all(stdout)).split() == [b"HELLO", b"and", b"the", b"rest"]
    for stream in (stdin, stdout):
        with pytest.raises(trio.ClosedResourceError):
            await stdin.send_all(b"x") if stream is stdin else await stdout.receive_some()


def lines_unexpected(line: str) -> None:
    pytest.fail(line)


@pytest.mark.skipif(WINDOWS, reason="the child is cat(1)")
async def test_end_of_block_closes_the_childs_stdin() -> None:
    async with open_child(["cat"], stdin=subprocess.PIPE, grace=60) as child:
        pass
    assert (child.status, child.reason) == (0, "exited")


async def test_lines_arrive_while_the_child_runs() -> None:
    came = trio.Event()
    async with open_child(programs.HANG, stdout=lambda line: came.set(), grace=0) as child:
        await came.wait()
        assert child.status is None


async def test_last_lines_of_a_terminated_child_arrive() -> None:
    body = """
    try:
        say("ready")
        time.sleep(60)
    except SystemExit:
        say("bye")
    """
    prepare = "" if WINDOWS else "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
    lines: list[str] = []
    ready = trio.Event()

    def hear(line: str) -> None:
        lines.append(line)
        ready.set()

    with trio.CancelScope() as scope:
        program = programs.plain_program(prepare + textwrap.dedent(body))
        async with open_child(program, stdout=hear):
            await ready.wait()
            scope.cancel()
            await trio.sleep_forever()
    assert lines == (["ready"] if WINDOWS else ["ready", "bye"])


async def test_exception_of_the_line_function_ends_the_block() -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="here"):
        async with open_child(programs.HANG, stdout=refuse, grace=0.1):
            await trio.sleep_forever()


async def test_env_and_cwd_are_passed_on(tmp_path: Path) -> None:
    environment = {**os.environ, "MINE": "yes", "IPCPIPES_STREAM": "99", "IPCPIPES_PIPE_X": "98"}
    body = 'say(os.environ["MINE"], os.getcwd(), sorted(n for n in os.environ if "PIPE" in n))'
    lines = await lines_of(body, env=environment, cwd=tmp_path)
    words = lines[0].split(maxsplit=1)
    assert words[0] == "yes"
    assert str(tmp_path.name) in words[1]
    assert "IPCPIPES_PIPE_X" not in words[1]
