"""``python -m ipcpipes echo``, as users run it: in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes._cli.echo import generated
from ipcpipes._cli.echo.figures import RoundTrips, Streamed, percentile, readable_size, summarise
from ipcpipes._cli.echo.ledger import Ledger
from ipcpipes._cli.echo.measure import with_generated_data
from ipcpipes._cli.echo.report import Report, as_json, as_text
from ipcpipes._cli.echo.server_process import server_process
from ipcpipes._cli.echo.transfer import fail_when_stalled, round_trip, stream_through
from ipcpipes._cli.failure import ConnectionEnded, Failure, WrongBytes, explain
from ipcpipes._cli.progress import show_progress
from ipcpipes.errors import single_errors

from .echo_runs import (
    LIMIT,
    as_users_have_it,
    assert_sent_twice,
    command,
    complaint,
    ctrl_c,
    document,
    eventually,
    finish,
    has_ended,
    kill,
    one_line,
    posix_signals,
    posix_stdin,
    press_ctrl_c,
    running,
)
from .terminals import posix_terminal, shown, terminal

posix_shell = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no POSIX shell to close or ignore things with"
)
posix_files = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no FIFOs in the file system and no file modes"
)
posix_memory = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows does not tell the peak memory of a child (wait4)"
)


# How the processes are run


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        yield directory


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(4)}"


@contextlib.contextmanager
def serving(name: str) -> Iterator[subprocess.Popen[bytes]]:
    with running("echo", "serve", name) as server:
        assert server.stdout is not None
        line = server.stdout.readline().decode()
        assert line.startswith(f"listening on named endpoint '{name}' at ")
        yield server


# What only POSIX has; "if" and not "assert", because mypy understands only that.


def make_fifo(path: Path) -> Path:
    if sys.platform != "win32":
        os.mkfifo(path)
    return path


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """In bytes; waits for its end."""
    if sys.platform == "win32":
        return 0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# How it goes on


def server_of_diagnostic(diagnostic: subprocess.Popen[bytes], directory: Path) -> int:
    """The pid of the server process, once it listens."""

    def sockets() -> list[Path]:
        assert diagnostic.poll() is None, diagnostic.communicate()
        return list((directory / "ipcpipes").glob("*.sock"))

    found: list[Path] = eventually(sockets)

    async def pid() -> int | None:
        async with await ipcpipes.connect(found[0], wait=LIMIT) as stream:
            return stream.peer.pid

    result = trio.run(pid)
    assert result is not None
    return result


# The diagnostic


def test_without_arguments_it_measures_generated_data() -> None:
    result = finish("echo", "--seconds", "0.2")
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    for word in ("1 B", "64 B", "1 KiB", "16 KiB", "64 KiB", "1 MiB", "p50", "p90", "p99", "max"):
        assert word in text
    for word in ("address", "transport", "peer", "platform", "versions", "MB/s", "result     ok"):
        assert word in text
    assert "generated" in text


def test_json_has_all_the_facts(place: Path) -> None:
    facts = document(finish("echo", "--json", "--seconds", "0.2"))
    assert facts["ok"] is True
    assert facts["input"] == {"name": None, "seed": generated.SEED}
    assert facts["platform"].keys() == {"system", "release", "machine"}
    assert facts["versions"].keys() == {"python", "ipcpipes", "trio", "cffi"}
    assert facts["versions"]["ipcpipes"] == ipcpipes.__version__
    assert facts["versions"]["trio"] == trio.__version__
    assert facts["peer"].keys() == {"pid", "user", "uid", "gid", "sid", "groups", "executable"}
    assert facts["peer"]["pid"] > 0
    assert facts["transport"]
    assert facts["endpoint"] in facts["address"]
    if sys.platform != "win32":
        assert facts["address"].startswith(str(place))
        assert facts["peer"]["uid"] == os.geteuid()
    assert [each["message_bytes"] for each in facts["round_trips"]] == list(generated.SIZES)
    for each in facts["round_trips"]:
        assert each["count"] >= 1
        assert each["total_bytes"] == each["count"] * each["message_bytes"]
        assert 0 < each["p50_us"] <= each["p90_us"] <= each["p99_us"] <= each["max_us"]
        assert each["messages_per_second"] > 0
        assert each["megabytes_per_second"] >= 0
        assert each["seconds"] > 0
    assert facts["stream"]["total_bytes"] > 0
    assert facts["stream"]["megabytes_per_second"] > 0
    total = sum(each["total_bytes"] for each in facts["round_trips"])
    assert facts["verified_bytes"] == total + facts["stream"]["total_bytes"]


@pytest.mark.parametrize("size", [1, 65536, 65537, 1_000_000])
def test_a_file_is_sent(tmp_path: Path, size: int) -> None:
    file = tmp_path / "input"
    file.write_bytes(secrets.token_bytes(size))
    facts = document(finish("echo", "--json", file))
    assert_sent_twice(facts, size)
    assert facts["input"] == {"name": str(file), "seed": None}


def test_an_empty_file_is_sent_too(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    facts = document(finish("echo", "--json", tmp_path / "empty"))
    assert facts["round_trips"] == []
    assert facts["verified_bytes"] == 0
    result = finish("echo", tmp_path / "empty")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"ok: 0 bytes" in result.stdout


def test_a_dash_is_standard_input() -> None:
    text = secrets.token_bytes(300_000)
    assert_sent_twice(document(finish("echo", "-", "--json", text=text)), len(text))


@posix_stdin
def test_a_pipe_on_standard_input_is_sent() -> None:
    text = secrets.token_bytes(300_000)
    assert_sent_twice(document(finish("echo", "--json", text=text)), len(text))


def test_a_file_on_standard_input_is_sent_from_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bytes(1000))
    with (tmp_path / "input").open("rb", buffering=0) as file:
        file.seek(300)
        assert_sent_twice(document(finish("echo", "--json", stdin=file)), 700)


@posix_files
def test_a_fifo_is_sent(tmp_path: Path) -> None:
    fifo = make_fifo(tmp_path / "fifo")
    with running("echo", "--json", fifo) as process:
        fifo.write_bytes(bytes(200_000))
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, b"")
    assert_sent_twice(json.loads(out), 200_000)


def test_an_idle_pipe_on_standard_input_is_left_alone() -> None:
    reading, writing = os.pipe()
    try:
        facts = document(finish("echo", "--json", "--seconds", "0.1", stdin=reading))
        assert facts["input"]["name"] is None
        os.write(writing, b"x")
        assert os.read(reading, 2) == b"x"
    finally:
        os.close(reading)
        os.close(writing)


def test_empty_standard_input_means_generated_data(tmp_path: Path) -> None:
    assert document(finish("echo", "--json", "--seconds", "0.1", text=b""))["input"]["seed"]
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        result = finish("echo", "--json", "--seconds", "0.1", stdin=file)
    assert document(result)["input"]["seed"]


@posix_terminal
def test_a_terminal_on_standard_input_means_generated_data() -> None:
    with terminal() as (_, slave):
        facts = document(finish("echo", "--json", "--seconds", "0.1", stdin=slave))
    assert facts["input"]["seed"]


@posix_shell
def test_closed_standard_input_means_generated_data() -> None:
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *command("echo", "--json", "--seconds", "0.1")]
    result = subprocess.run(shell, capture_output=True, timeout=LIMIT, check=False)
    assert document(result)["input"]["seed"]


def test_nothing_is_left_behind(place: Path) -> None:
    document(finish("echo", "--json", "--seconds", "0.1"))
    assert [path for path in place.rglob("*") if not path.is_dir()] == []


# Two processes


@pytest.mark.parametrize("size", [0, 1, 65536, 8 * 2**20])
def test_send_through_serve(tmp_path: Path, name: str, size: int) -> None:
    file = tmp_path / "input"
    file.write_bytes(secrets.token_bytes(size))
    with serving(name):
        result = finish("echo", "send", name, file)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().startswith(f"{size} bytes sent and back, every one right, in ")
    assert result.stdout.count(b"\n") == 1
    assert b"MB/s" in result.stdout


@pytest.mark.parametrize("dash", [[], ["-"]])
def test_send_reads_standard_input(name: str, dash: list[str]) -> None:
    with serving(name):
        result = finish("echo", "send", name, *dash, text=bytes(8 * 2**20))
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"8388608 bytes ")


def test_one_server_serves_many_clients_one_after_another_and_at_once(name: str) -> None:
    with serving(name), contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(running("echo", "send", name, stdin=subprocess.PIPE))
            for _ in range(3)
        ]
        for client in clients:
            out, err = client.communicate(bytes(100_000), timeout=LIMIT)
            assert (client.returncode, err) == (0, b"")
            assert out.startswith(b"100000 bytes ")


def test_send_waits_for_a_server_that_comes_later(tmp_path: Path, name: str) -> None:
    (tmp_path / "input").write_bytes(b"hello")
    with running("echo", "send", name, tmp_path / "input", "--wait", str(LIMIT)) as client:
        with serving(name):
            out, err = client.communicate(timeout=LIMIT)
        assert (client.returncode, err) == (0, b"")
        assert out.startswith(b"5 bytes ")


@posix_memory
def test_memory_does_not_grow_with_the_input(name: str) -> None:

    def peak(size: int) -> int:
        with running("echo", "send", name, stdin=subprocess.PIPE) as client:
            assert client.stdin is not None
            for _ in range(size // 2**20):
                client.stdin.write(bytes(2**20))
            client.stdin.close()
            peak = peak_memory(client)
            assert client.returncode == 0
        return peak

    with serving(name):
        assert peak(128 * 2**20) < peak(2**20) + 32 * 2**20


# Ctrl-C


@posix_signals
def test_ctrl_c_ends_the_diagnostic_and_its_server(place: Path) -> None:
    with running("echo", "--seconds", "600") as process:
        server = server_of_diagnostic(process, place)
        assert ctrl_c(process) == (130, b"", b"")
        assert has_ended(server)


@posix_signals
def test_ctrl_c_while_the_diagnostic_reads_its_input() -> None:
    with running("echo", "-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        # More than a pipe holds: it has begun to read when this returns.
        process.stdin.write(bytes(2**20))
        assert ctrl_c(process) == (130, b"", b"")


@posix_signals
def test_ctrl_c_on_the_server_process_alone(place: Path) -> None:
    with running("echo", "--seconds", "600") as process:
        os.kill(server_of_diagnostic(process, place), signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (1, b"")
    assert "the server process ended with status 130" in one_line(err)


@posix_shell
def test_sigint_stays_ignored_where_the_shell_ignores_it(name: str) -> None:
    shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command("echo", "send", name)]
    with serving(name), contextlib.ExitStack() as stack:
        client = stack.enter_context(
            subprocess.Popen(
                shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        stack.callback(client.kill)
        assert client.stdin is not None
        client.stdin.write(bytes(2**20))
        client.stdin.flush()
        client.send_signal(signal.SIGINT)
        out, err = client.communicate(b"more", timeout=LIMIT)
        assert (client.returncode, err) == (0, b"")
        assert out.startswith(b"1048580 bytes ")


@posix_signals
def test_ctrl_c_ends_serve(name: str, place: Path) -> None:
    with serving(name) as server:
        assert ctrl_c(server) == (130, b"", b"")
    assert [path for path in place.rglob("*") if not path.is_dir()] == []


@posix_signals
def test_ctrl_c_ends_serve_with_clients(name: str) -> None:
    with serving(name) as server, running("echo", "send", name, stdin=subprocess.PIPE) as client:
        assert client.stdin is not None
        client.stdin.write(bytes(2**20))
        client.stdin.flush()
        assert ctrl_c(server) == (130, b"", b"")
        assert client.wait(LIMIT) == 1
        assert client.stderr is not None
        assert "the server closed the connection or died" in one_line(client.stderr.read())


@posix_signals
def test_ctrl_c_ends_send(name: str) -> None:
    with serving(name), running("echo", "send", name, stdin=subprocess.PIPE) as client:
        assert client.stdin is not None
        client.stdin.write(bytes(2**20))
        client.stdin.flush()
        assert ctrl_c(client) == (130, b"", b"")


@posix_signals
def test_ctrl_c_ends_send_while_it_waits_for_a_server(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # When Ctrl-C comes as the FIFO is being opened, in a thread, it is left to the system to
    # close it, and development mode would speak of that.
    monkeypatch.delenv("PYTHONDEVMODE")
    fifo = make_fifo(tmp_path / "fifo")
    # Opening it returns when the client, which opens its input first, has begun.
    with running("echo", "send", name, fifo, "--wait", "inf") as client, fifo.open("wb"):
        assert ctrl_c(client) == (130, b"", b"")


@posix_signals
def test_ctrl_c_pressed_twice_is_no_worse(place: Path) -> None:
    with running("echo", "--seconds", "600") as process:
        server = server_of_diagnostic(process, place)
        press_ctrl_c(process)
        # It has received the first one, and is ending or gone (a zombie has a group too).
        assert ctrl_c(process) == (130, b"", b"")
        assert has_ended(server)


# Death


@posix_signals
def test_the_server_does_not_outlive_a_killed_diagnostic(place: Path) -> None:
    with running("echo", "--seconds", "600") as process:
        server = server_of_diagnostic(process, place)
        process.kill()
        process.wait(LIMIT)
        eventually(lambda: has_ended(server))
    assert [path for path in place.rglob("*") if not path.is_dir()] == []


def test_the_servers_end_of_standard_input_is_its_end(name: str) -> None:
    # What that rests on, also where no test can kill the diagnostic and find its server.
    hidden = ["echo", "serve", name, "--until-stdin-closes"]
    with running(*hidden, stdin=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        assert server.communicate(b"anything", timeout=LIMIT) == (b"", b"")
        assert server.returncode == 0


@posix_signals
def test_a_server_that_is_killed_midway_fails_the_diagnostic(place: Path) -> None:
    with running("echo", "--seconds", "600") as process:
        kill(server_of_diagnostic(process, place))
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (1, b"")
    assert "the server process ended by SIGKILL" in one_line(err)


def test_a_server_that_is_killed_midway_fails_send(name: str) -> None:
    with serving(name) as server, running("echo", "send", name, stdin=subprocess.PIPE) as client:
        assert client.stdin is not None
        client.stdin.write(bytes(2**20))
        client.stdin.flush()
        server.kill()
        # Although its input goes on.
        assert client.wait(LIMIT) == 1
        assert client.stdout is not None
        assert client.stderr is not None
        assert client.stdout.read() == b""
        assert "the server closed the connection or died" in one_line(client.stderr.read())


# Servers that do not echo


async def send_to(
    handler: Callable[[ipcpipes.abc.ByteStream], Awaitable[None]], name: str, size: int
) -> str:
    """What ``send`` complains about when ``handler`` serves it."""
    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve, handler, name)
        with trio.fail_after(LIMIT):
            result: subprocess.CompletedProcess[bytes] = await trio.run_process(
                command("echo", "send", name),
                stdin=bytes(size),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        nursery.cancel_scope.cancel()
    return complaint(result)


async def test_one_flipped_byte_is_found(name: str) -> None:
    async def flip(stream: ipcpipes.abc.ByteStream) -> None:
        position = 0
        with contextlib.suppress(trio.BrokenResourceError):
            while data := bytearray(await stream.receive_some()):
                if position <= 123_456 < position + len(data):
                    data[123_456 - position] ^= 0x10
                position += len(data)
                await stream.send_all(data)

    line = await send_to(flip, name, 300_000)
    assert "wrong bytes came back: byte 123456 is 0x10 and was sent as 0x00" in line


async def test_more_than_was_sent_is_found(name: str) -> None:
    async def babble(stream: ipcpipes.abc.ByteStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            data = await stream.receive_some()
            await stream.send_all(data + b"more")
            await stream.receive_some()

    assert "more came back than was sent" in await send_to(babble, name, 1)


async def test_an_end_before_everything_is_back_is_found(name: str) -> None:
    async def stop_short(stream: ipcpipes.abc.ByteStream) -> None:
        await stream.send_all((await stream.receive_some(100))[:7])

    line = await send_to(stop_short, name, 1000)
    assert "the server closed the connection or died: 7 of 1000 bytes came back" in line


# Failures


def test_a_file_that_is_missing(tmp_path: Path, name: str) -> None:
    missing = tmp_path / "missing"
    for arguments in (["echo"], ["echo", "send", name]):
        assert f"cannot read {missing}: No such file" in complaint(finish(*arguments, missing))


def test_a_directory_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    for arguments in (["echo"], ["echo", "send", name]):
        assert f"cannot read {tmp_path}: " in complaint(finish(*arguments, tmp_path))


def test_a_name_with_line_breaks_makes_one_line(tmp_path: Path) -> None:
    complaint(finish("echo", tmp_path / "two\nlines"))


@pytest.mark.parametrize("bad", ["", "no/slash", "x" * 65, "new\nline", "./serve"])
def test_a_bad_name(bad: str) -> None:
    for arguments in (["serve", bad], ["send", bad]):
        assert "is not a plain name" in complaint(finish("echo", *arguments))


def test_nobody_is_there(name: str, place: Path) -> None:
    # As after the first server of this user, ever or since the machine started.
    (place / "ipcpipes").mkdir(mode=0o700)
    assert "nothing is there" in complaint(finish("echo", "send", name))
    line = complaint(finish("echo", "send", name, "--wait", "0.1"))
    assert "(waited 0.1 s)" in line
    # As the command's flag is called, and not as the argument of connect.
    for arguments in (["echo", "send"], ["call"]):
        line = complaint(finish(*arguments, name))
        assert "--wait SECONDS" in line
        assert "wait=" not in line


def test_the_address_of_a_name(name: str) -> None:
    """What other programs connect to, whether there is a server or not."""
    address = ipcpipes.Endpoint.named(name).address
    for path in (name, address):
        result = finish("address", path)
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.decode().splitlines() == [address]
    assert "is not a plain name" in complaint(finish("address", "no/slash"))


@posix_files
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict"])
def test_what_a_strict_terminal_cannot_show_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Also where the locale is C, and Python may not take another one."""
    for variable, value in (
        ("LC_ALL", "C"),
        ("PYTHONCOERCECLOCALE", "0"),
        ("PYTHONUTF8", "0"),
        ("PYTHONIOENCODING", encoding),
    ):
        monkeypatch.setenv(variable, value)
    path = os.fsencode(tmp_path) + b"/\xff\xc3\xa9"
    for arguments in (["echo", "send"], ["call"], ["echo", "serve"]):
        result = subprocess.run(
            [*command(*arguments), path + b"/s"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert rb"/\xff" in result.stderr


@posix_files
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict", "utf-16"])
def test_the_address_is_the_bytes_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    for text in (b"/\xff\xc3\xa9", b"/a\x1b[2J b"):
        path = os.fsencode(tmp_path) + text
        result = subprocess.run(
            [*command("address"), path], capture_output=True, timeout=LIMIT, check=True
        )
        assert (result.stdout, result.stderr) == (path + b"\n", b"")


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
def test_the_name_is_taken(name: str) -> None:
    with serving(name):
        assert "in use by " in complaint(finish("echo", "serve", name))


@posix_files
def test_a_directory_that_is_not_safe(place: Path, name: str) -> None:
    place.chmod(0o777)
    for arguments in (["serve", name], ["send", name]):
        assert "can be written by others" in complaint(finish("echo", *arguments))
    # The server process cannot listen; what it says comes with its end.
    assert "can be written by others" in complaint(finish("echo", "--seconds", "0.1"))


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["echo", "--seconds", "0.1"], ["echo", "serve"]]
)
def test_nobody_reads_standard_output(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with running(*arguments, stdout=writing) as process:
        os.close(writing)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    # "Broken pipe"; Windows says "Invalid argument".
    assert "cannot write to standard output: " in one_line(err)


@posix_shell
def test_standard_output_is_closed() -> None:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command("echo", "serve")]
    result = subprocess.run(shell, capture_output=True, timeout=LIMIT, check=False)
    assert "cannot write to standard output: it is closed" in complaint(result)


@posix_shell
def test_standard_error_is_closed(name: str) -> None:
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command("echo", "send", name)]
    result = subprocess.run(shell, capture_output=True, timeout=LIMIT, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (1, b"", b"")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["echo", "one", "two"],
        ["echo", "--json", "one", "--rpc", "two"],
        ["echo", "serve", "one", "--rpc", "two"],
        ["echo", "--seconds", "0"],
        ["echo", "--seconds", "inf"],
        ["echo", "--seconds", "soon"],
        ["echo", "send"],
        ["echo", "send", "name", "--wait", "-1"],
        ["echo", "send", "name", "--wait", "nan"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    result = finish(*arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"usage: python -m ipcpipes")


def test_version_and_help() -> None:
    result = finish("--version")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.split() == [b"ipcpipes", ipcpipes.__version__.encode()]
    for arguments in ([], ["echo"], ["echo", "serve"], ["echo", "send"]):
        result = finish(*arguments, "--help")
        assert (result.returncode, result.stderr) == (0, b"")
        assert b"until-stdin-closes" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "statuses"),
    [
        (["address"], "0 the address was printed"),
        (["echo"], "0 all came back right"),
        (["echo", "serve"], "1 it could not listen"),
        (["echo", "send"], "0 all came back right"),
    ],
)
def test_each_command_says_what_its_exit_statuses_mean(arguments: list[str], statuses: str) -> None:
    text = finish(*arguments, "--help").stdout.decode()
    assert f"exit status: {statuses}" in text


def test_options_can_stand_before_and_after_what_they_are_for(tmp_path: Path, name: str) -> None:
    file = tmp_path / "octets"
    file.write_bytes(b"octets")
    with serving(name):
        for words in (
            ["echo", "send", "--wait", "1", name, str(file)],
            ["echo", "send", name, "--wait", "1", str(file)],
            ["echo", "send", name, str(file), "--wait", "1"],
        ):
            result = finish(*words)
            assert (result.returncode, result.stderr) == (0, b"")
    with running("echo", "--rpc", "serve", name) as process:
        assert process.stdout is not None
        assert name.encode() in process.stdout.readline()


# The progress bar


@posix_terminal
def test_long_input_shows_a_bar_on_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as (master, slave), serving(name):
        with running("echo", "send", name, stdin=subprocess.PIPE, stderr=slave) as client:
            assert client.stdin is not None
            client.stdin.write(bytes(2**20))
            client.stdin.flush()
            shown(master, until=b"MB")
            out, _ = client.communicate(timeout=LIMIT)
            assert client.returncode == 0
        # The cursor, which was hidden, is back.
        shown(master, until=b"\x1b[?25h")
    assert out.startswith(b"1048576 bytes ")


@posix_terminal
def test_ctrl_c_takes_the_bar_away(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as (master, slave), serving(name):
        with running("echo", "send", name, stdin=subprocess.PIPE, stderr=slave) as client:
            shown(master, until=b"\x1b[?25l")
            assert ctrl_c(client)[:2] == (130, b"")
        assert b"Traceback" not in shown(master, until=b"\x1b[?25h")


@posix_terminal
def test_without_rich_there_is_no_bar(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text(
        f"open({str(asked)!r}, 'w').close()\nraise ImportError\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with terminal() as (master, slave), serving(name):
        with running("echo", "send", name, stdin=subprocess.PIPE, stderr=slave) as client:
            eventually(asked.exists)
            out, _ = client.communicate(b"hello", timeout=LIMIT)
            assert client.returncode == 0
        assert shown(master) == b""
    assert out.startswith(b"5 bytes ")


async def test_without_a_terminal_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.fail_after(LIMIT):
        await show_progress(Ledger(), 1)  # pytest's standard error is no terminal
        monkeypatch.setattr(sys, "stderr", None)
        await show_progress(Ledger(), 1)


# The parts


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([5.0], 50) == percentile([5.0], 99) == 5.0
    hundred = [float(value) for value in range(1, 101)]
    assert [percentile(hundred, percent) for percent in (1, 50, 90, 99, 100)] == [
        1,
        50,
        90,
        99,
        100,
    ]
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 51) == 3.0
    assert percentile([1.0, 2.0], 90) == 2.0


def test_summary_of_round_trips() -> None:
    found = summarise(10, 25, [0.3, 0.1, 0.2])
    assert (found.message_bytes, found.count, found.total_bytes) == (10, 3, 25)
    assert (found.p50, found.p90, found.p99, found.longest) == (0.2, 0.3, 0.3, 0.3)
    assert found.seconds == pytest.approx(0.6)
    assert found.messages_per_second == pytest.approx(5)
    assert found.bytes_per_second == pytest.approx(25 / 0.6)


def test_no_time_at_all_is_no_division_by_zero() -> None:
    assert Streamed(0, 0.0).bytes_per_second == 0
    assert RoundTrips(1, 1, 1, 0.0, 0.0, 0.0, 0.0, 0.0).messages_per_second == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1, "1 B"), (1000, "1000 B"), (1024, "1 KiB"), (1536, "1536 B"), (2**20, "1 MiB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert readable_size(size) == text


def test_the_ledger_does_not_care_how_the_bytes_are_cut() -> None:
    data = generated.pool()[:1000]
    for out, back in ((1, 1000), (1000, 1), (7, 13), (13, 7), (250, 250)):
        ledger = Ledger()
        for start in range(0, 1000, out):
            ledger.send(data[start : start + out])
        for start in range(0, 1000, back):
            assert ledger.under_way == 1000 - start
            ledger.receive(data[start : start + back])
        assert (ledger.sent, ledger.returned, ledger.under_way) == (1000, 1000, 0)


@pytest.mark.parametrize("wrong", [0, 4, 5, 9])
def test_the_ledger_says_which_byte_is_wrong(wrong: int) -> None:
    ledger = Ledger()
    ledger.send(b"01234")
    ledger.send(b"")
    ledger.send(b"56789")
    data = bytearray(b"0123456789")
    data[wrong] = 0xFF
    with pytest.raises(WrongBytes, match=f"byte {wrong} is 0xff and was sent as 0x3{wrong}"):
        ledger.receive(bytes(data))


def test_the_ledger_takes_no_more_than_was_sent() -> None:
    ledger = Ledger()
    ledger.send(b"a")
    with pytest.raises(WrongBytes, match="more came back"):
        ledger.receive(b"ab")
    with pytest.raises(WrongBytes, match="more came back"):
        Ledger().receive(b"a")


def test_generated_messages_differ_from_their_neighbours() -> None:
    data = generated.pool()
    assert data == generated.pool()
    for size in generated.SIZES[1:]:
        assert len({generated.message(data, size, turn) for turn in range(10)}) == 10
        assert {len(generated.message(data, size, turn)) for turn in range(1000)} == {size}
    pieces = generated.chunks(data, 65536)
    assert {len(piece) for piece in pieces} == {65536}
    assert len(set(pieces)) == len(pieces) > 1


def test_a_failure_is_one_line_and_a_mistake_is_none() -> None:
    assert explain(Failure("two\nlines")) == "two lines"
    assert explain(FileNotFoundError(2, "No such file", "x")) == "x: No such file"
    assert explain(OSError(24, "Too many open files")) == "Too many open files"
    assert explain(trio.BrokenResourceError("gone")) == "the connection broke: gone"
    assert explain(ZeroDivisionError("ours")) is None


async def test_a_failure_is_found_in_the_groups_of_nurseries() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def fail_twice(first: Exception, second: Exception) -> BaseException:
        try:
            async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                outer.start_soon(fail, first)
                inner.start_soon(fail, second)
        except Exception as error:
            return error
        raise AssertionError

    error = await fail_twice(ConnectionEnded("ended"), WrongBytes("wrong"))
    assert {str(each) for each in single_errors(error)} == {"ended", "wrong"}
    assert explain(error) == "wrong"
    assert explain(await fail_twice(ConnectionEnded("ended"), ZeroDivisionError())) is None


@pytest.mark.parametrize("fits_buffer", [True, False])
async def test_a_round_trip_checks_what_comes_back(fits_buffer: bool) -> None:
    client, server = trio.testing.memory_stream_pair()
    ledger = Ledger()

    async def answer(data: bytes) -> None:
        await server.receive_some()
        await server.send_all(data)

    for back, error in ((b"right", None), (b"wrong", WrongBytes)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, back)
            if error is None:
                assert await round_trip(client, b"right", ledger, fits_buffer=fits_buffer) > 0
            else:
                with pytest.raises(error):
                    await round_trip(client, b"right", ledger, fits_buffer=fits_buffer)


async def test_small_buffers_are_no_deadlock(name: str) -> None:
    async def echo(stream: ipcpipes.abc.ByteStream) -> None:
        while data := await stream.receive_some():
            await stream.send_all(data)

    ledger = Ledger()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(ipcpipes.serve, echo, name, buffer_size=4096))
        async with await ipcpipes.connect(name, buffer_size=4096) as stream:
            with trio.fail_after(LIMIT):
                measured = await with_generated_data(stream, ledger, 0.01)
        nursery.cancel_scope.cancel()
    assert [each.message_bytes for each in measured.round_trips] == list(generated.SIZES)
    assert ledger.under_way == 0


async def test_a_connection_that_is_made_just_when_ctrl_c_comes_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, _ = trio.testing.memory_stream_pair()
    with trio.CancelScope() as scope:

        async def connect(*_: object, **__: object) -> trio.abc.Stream:
            scope.cancel()
            return made

        monkeypatch.setattr(ipcpipes, "connect", connect)
        async with server_process() as server:
            await server.connect()
    assert scope.cancelled_caught
    assert server.process.returncode is not None
    with pytest.raises(trio.ClosedResourceError):
        await made.send_all(b"x")


async def test_a_server_that_only_takes_is_given_a_bounded_amount(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, server = trio.testing.memory_stream_pair()
    ledger = Ledger()

    async def swallow() -> None:
        while await server.receive_some():
            pass

    async def endless() -> bytes:
        return bytes(65536)

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group; looked into below
        async with trio.open_nursery() as nursery:
            nursery.start_soon(swallow)
            nursery.start_soon(fail_when_stalled, ledger)
            await stream_through(client, endless, ledger)
    assert "nothing came back for 30 s" in str(explain(caught.value))
    assert ledger.sent == ledger.under_way <= 2**22 + 65536


def test_a_report_says_the_same_in_both_forms() -> None:
    report = Report(
        endpoint="svc",
        address="/run/svc.sock",
        transport="Unix domain socket",
        peer=ipcpipes.PeerIdentity(pid=7, user="me", uid=1000, gid=1000),
        platform={"system": "Linux", "release": "6", "machine": "x86_64"},
        versions={"python": "3.14.0", "ipcpipes": "1"},
        input_name="file",
        seed=None,
        round_trips=[summarise(65536, 65536 + 1, [0.002, 0.001])],
        streamed=Streamed(65537, 0.5),
    )
    facts = json.loads(as_json(report))
    assert facts["round_trips"][0]["p50_us"] == 1000
    assert facts["verified_bytes"] == 2 * 65537
    lines = as_text(report).splitlines()
    assert "peer       me (1000), process 7" in lines
    assert "result     ok: 131074 bytes sent, every one came back right" in lines
    assert any(line.split()[:6] == ["up", "to", "64", "KiB", "2", "1000.0"] for line in lines)
    assert all(line.isascii() and line == line.rstrip() for line in lines)
