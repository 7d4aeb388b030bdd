"""Children under trio: what connects them with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import ContentLength, Framing, LengthPrefixed, Lines, Native, blocking, open_child
from ipcpipes.child import handover

from . import programs
from .conftest import WINDOWS
from .pairs import receive_all, receive_exactly
from .processes import children_of_this_process

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

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


# Without a parent


def test_outside_a_child_there_is_a_clear_error() -> None:
    async def ask(manager: Any) -> None:
        with pytest.raises(ipcpipes.NoParent, match=r"ipcpipes\.open_child has not started it"):
            async with manager:
                pass

    for manager in (ipcpipes.parent_stream(), ipcpipes.parent_channel(), ipcpipes.parent_pipes()):
        trio.run(ask, manager)


@pytest.mark.parametrize(
    ("options", "call", "hint"),
    [
        ({}, "parent_channel", "call parent_stream()"),
        ({}, "parent_pipes", "call parent_stream()"),
        ({"framing": LengthPrefixed()}, "parent_stream", "call parent_channel()"),
        ({"pipes": {"log": "receive"}}, "parent_stream", "call parent_pipes()"),
    ],
)
async def test_error_names_the_function_to_call_instead(
    options: dict[str, Any], call: str, hint: str
) -> None:
    program = programs.trio_program(f"""
    try:
        async with ipcpipes.{call}():
            pass
    except ipcpipes.NoParent as error:
        say(error)
    # Nothing was taken: the right question still works.
    async with ipcpipes.{hint.split()[1]}:
        pass
    """)
    lines: list[str] = []
    async with open_child(program, stdout=lines.append, **options) as child:
        await child.wait()
    assert len(lines) == 1
    assert lines[0].endswith(hint)
    assert child.status == 0


async def test_parent_stream_is_taken_once_and_not_inherited() -> None:
    program = programs.trio_program("""
    before = dict(os.environ)
    async with ipcpipes.parent_stream() as stream:
        try:
            async with ipcpipes.parent_stream():
                pass
        except ipcpipes.NoParent as error:
            say(error)
    say(sorted(set(before) - set(os.environ)))
    """)
    lines: list[str] = []
    async with open_child(program, stdout=lines.append):
        pass
    assert lines[0].endswith("or it has taken its connection already")
    assert lines[1] == "['IPCPIPES_PARENT', 'IPCPIPES_STREAM']"


async def test_variables_without_the_handles_raise_no_parent() -> None:
    # A process in between has them in its environment, and does not pass the handles on.
    program = programs.plain_program(
        """
    program = "import trio, ipcpipes\\n" + sys.argv[1]
    sys.exit(subprocess.run([sys.executable, "-c", program], close_fds=True).returncode)
    """,
        """
async def main():
    # Something else has the number.
    import os
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    try:
        async with ipcpipes.parent_stream():
            print("a parent!")
    except ipcpipes.NoParent as error:
        print(error)
trio.run(main)
""",
    )
    lines: list[str] = []
    async with open_child(program, stdout=lines.append):
        pass
    assert len(lines) == 1
    assert lines[0].startswith("this process has not inherited the parent's stream: number ")


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"version":1}',
        '{"version":1,"handles":{},"framing":null,"group":null}',
        '{"version":1,"handles":{"stream":["3","duplex",""]},"framing":null,"group":null}',
        *(
            f'{{"version":1,"handles":{{"stream":[{number},{kind},""],"lifeline":["4","receive",""]'
            f'}},"framing":{framing},"group":{group}}}'
            for number, kind, framing, group in [
                ("null", '"duplex"', "null", "null"),
                ('"abc"', '"duplex"', "null", "null"),
                ('"-1"', '"duplex"', "null", "null"),
                (f'"{"9" * 5000}"', '"duplex"', "null", "null"),
                ('"3"', '"sideways"', "null", "null"),
                ('"3"', '"duplex"', "5", "null"),
                ('"3"', '"duplex"', '{"type":"Nope"}', "null"),
                ('"3"', '"duplex"', '{"type":"Lines","delimiter":5}', "null"),
                ('"3"', '"duplex"', "null", "{}"),
                ('"3"', '"duplex"', "null", '{"number":0,"endpoint":["x","y"]}'),
            ]
        ),
    ],
)
def test_foreign_variables_raise_no_parent(told: str) -> None:
    environment = {"IPCPIPES_PARENT": told}
    with pytest.raises(ipcpipes.NoParent, match="is not ipcpipes' own"):
        handover.take(environment, "stream")
    assert environment == {"IPCPIPES_PARENT": told}


def test_other_version_of_the_variables_is_an_error() -> None:
    with pytest.raises(ipcpipes.NoParent, match=r"another version .*\(2, here it is 1\)"):
        handover.take({"IPCPIPES_PARENT": '{"version":2}'}, "stream")


async def test_a_child_of_a_child(tmp_path: Path) -> None:
    program = programs.trio_program(
        """
    inner = [sys.executable, "-c", sys.argv[1]]
    async with ipcpipes.parent_stream() as outer, ipcpipes.open_child(inner) as child:
        async for data in outer:
            await child.stream.send_all(data)
            await outer.send_all(await child.stream.receive_some())
    """,
        programs.ECHO[2],
    )
    async with open_child(program) as child:
        await child.stream.send_all(b"hello")
        assert await receive_exactly(child.stream, 5) == b"hello"
    assert (child.status, child.reason) == (0, "exited")


# Arguments


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"pass_fds": [3]}, TypeError, "takes no pass_fds"),
        ({"close_fds": False}, TypeError, "takes no close_fds"),
        ({"text": True}, TypeError, "takes no text"),
        ({"shell": True}, TypeError, "name it in the command"),
        ({"grace": -1}, ValueError, "grace must be 0 or more"),
        ({"grace": "5"}, TypeError, "grace must be a number"),
        ({"framing": 4}, TypeError, "framing must be"),
        ({"framing": LengthPrefixed(), "pipes": {"a": "send"}}, TypeError, "not both"),
        ({"pipes": {}}, TypeError, "one name or more"),
        ({"pipes": ["a"]}, TypeError, "one name or more"),
        ({"pipes": {"": "send"}}, ValueError, "not a name for a pipe"),
        ({"pipes": {"1st": "send"}}, ValueError, "not a name for a pipe"),
        ({"pipes": {"a" * 33: "send"}}, ValueError, "not a name for a pipe"),
        ({"pipes": {"log": "send", "LOG": "send"}}, ValueError, "two pipes named"),
        ({"pipes": {"log": "both"}}, ValueError, 'must be "duplex", "send" or "receive"'),
        ({"pipes": {"log": None}}, ValueError, 'must be "duplex", "send" or "receive"'),
        (
            {"no_such_option": 1},
            TypeError,
            r"^open_child\(\) got an unexpected keyword argument 'no_such_option'$",
        ),
    ],
)
async def test_wrong_options_are_refused_and_leave_nothing(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        async with open_child(programs.ECHO, **options):
            pytest.fail("it started")


@pytest.mark.parametrize("command", ["python", b"python", [], None, 5, lambda numbers: "python"])
async def test_wrong_commands_are_refused(command: Any) -> None:
    with pytest.raises(TypeError, match="a command is a sequence of one word or more"):
        async with open_child(command):
            pytest.fail("it started")


async def test_missing_program_is_named_and_nothing_is_left() -> None:
    receive_end, send_end = ipcpipes.open_anonymous_pipe()
    async with receive_end:
        with pytest.raises(FileNotFoundError, match="no-such-program"):
            async with open_child(["/no-such-program"], pipes={"out": send_end}):
                pytest.fail("it started")
        assert await receive_end.receive_some() == b""


class Unusable(LengthPrefixed):
    def splitter(self) -> Any:
        raise ValueError("no splitter")


async def test_failing_framing_leaves_no_process() -> None:
    pids: list[str] = []
    with pytest.raises(ValueError, match="no splitter"):
        async with open_child(programs.HANG, framing=Unusable(), stdout=pids.append):
            pytest.fail("it started")
    with (
        pytest.raises(ValueError, match="no splitter"),
        blocking.open_child(programs.HANG, framing=Unusable()),
    ):
        pytest.fail("it started")
    if sys.platform == "linux":
        assert not children_of_this_process()


async def test_missing_attribute_names_what_the_child_has() -> None:
    async with open_child(programs.plain_program("")) as child:
        with pytest.raises(AttributeError, match="opened without channel; it has stream"):
            child.channel  # noqa: B018
        with pytest.raises(AttributeError, match="opened without pipes; it has stream"):
            child.pipes  # noqa: B018


# Errors in the block


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt("mine")])
async def test_exception_of_the_block_is_not_wrapped(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with open_child(programs.plain_program(""), stdout=print):
            raise error
    assert caught.value is error


async def test_exception_group_of_the_block_is_not_nested() -> None:
    with pytest.raises(ExceptionGroup, match="mine") as caught:
        async with open_child(programs.plain_program("")):
            raise ExceptionGroup("mine", [ValueError("one"), KeyError("two")])
    assert [str(error) for error in caught.value.exceptions] == ["one", "'two'"]


# The standard streams


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


@pytest.mark.skipif(WINDOWS, reason="cat")
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
