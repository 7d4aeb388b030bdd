"""``echo serve`` and ``echo send``, and the progress bar."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio

import ipcpipes
from ipcpipes._cli.echo.ledger import Ledger
from ipcpipes._cli.progress import show_progress

from .echo_runs import (
    LIMIT,
    as_users_have_it,
    command,
    complaint,
    ctrl_c,
    eventually,
    finish,
    here,
    make_fifo,
    one_line,
    posix_files,
    posix_shell,
    posix_signals,
    running,
)
from .terminals import posix_terminal, shown, terminal

posix_memory = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows does not tell the peak memory of a child (wait4)"
)


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


@contextlib.contextmanager
def sending(name: str, **options: int) -> Iterator[subprocess.Popen[bytes]]:
    """A client that has begun to send, and waits for more input."""
    with running("echo", "send", name, stdin=subprocess.PIPE, **options) as client:
        assert client.stdin is not None
        client.stdin.write(bytes(2**20))
        client.stdin.flush()
        yield client


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """In bytes; waits for its end."""
    if sys.platform == "win32":
        return 0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def assert_server_was_lost(client: subprocess.Popen[bytes]) -> None:
    """``client`` fails although its input goes on."""
    assert client.wait(LIMIT) == 1
    assert client.stdout is not None
    assert client.stderr is not None
    assert client.stdout.read() == b""
    assert "the server closed the connection or died" in one_line(client.stderr.read())


# It works


@pytest.mark.parametrize("size", [0, 1, 65536, 8 * 2**20])
def test_a_file_goes_through_the_server(tmp_path: Path, name: str, size: int) -> None:
    file = tmp_path / "input"
    file.write_bytes(secrets.token_bytes(size))
    with serving(name):
        result = here("echo", "send", name, file)
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


def test_a_server_serves_many_clients_at_once(name: str) -> None:
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


async def test_the_diagnostics_server_ends_with_its_parent(name: str) -> None:
    words = command("echo", "serve", name, "--as-child")
    said: list[str] = []
    with trio.fail_after(LIMIT):
        async with ipcpipes.open_child(words, stdout=said.append, stderr=said.append) as server:
            stream = await ipcpipes.connect(name, wait=LIMIT)
    async with stream:
        assert await stream.receive_some() == b""
    assert (server.reason, server.status) == ("exited", 0)
    assert len(said) == 1


# Ctrl-C and death


@posix_shell
def test_sigint_stays_ignored_if_the_shell_ignores_it(name: str) -> None:
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
def test_ctrl_c_ends_serve_and_removes_its_socket(name: str, place: Path) -> None:
    with serving(name) as server:
        assert ctrl_c(server) == (130, b"", b"")
    assert [path for path in place.rglob("*") if not path.is_dir()] == []


@posix_signals
def test_ctrl_c_ends_serve_although_clients_are_connected(name: str) -> None:
    with serving(name) as server, sending(name) as client:
        assert ctrl_c(server) == (130, b"", b"")
        assert_server_was_lost(client)


def test_a_killed_server_fails_send(name: str) -> None:
    with serving(name) as server, sending(name) as client:
        server.kill()
        assert_server_was_lost(client)


@posix_signals
def test_ctrl_c_ends_send(name: str) -> None:
    with serving(name), sending(name) as client:
        assert ctrl_c(client) == (130, b"", b"")


@posix_signals
def test_ctrl_c_ends_send_while_it_waits_for_a_server(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # If Ctrl-C comes while a thread opens the FIFO, the system closes it at the end of the
    # process, and development mode would warn of that.
    monkeypatch.delenv("PYTHONDEVMODE")
    fifo = make_fifo(tmp_path / "fifo")
    # The client opens its input first; opening the other end returns once it has begun.
    with running("echo", "send", name, fifo, "--wait", "inf") as client, fifo.open("wb"):
        assert ctrl_c(client) == (130, b"", b"")


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


def test_input_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    missing = tmp_path / "missing"
    line = complaint(here("echo", "send", name, missing))
    assert f"cannot read {missing}: No such file" in line
    assert f"cannot read {tmp_path}: " in complaint(here("echo", "send", name, tmp_path))


@pytest.mark.parametrize("bad", ["", "no/slash", "x" * 65, "new\nline", "./serve"])
def test_a_bad_name_is_refused(bad: str) -> None:
    for arguments in (["serve", bad], ["send", bad]):
        assert "is not a plain name" in complaint(here("echo", *arguments))


def test_a_missing_server_is_reported_with_advice(name: str, place: Path) -> None:
    # As after the first server of this user, ever or since the machine started.
    (place / "ipcpipes").mkdir(mode=0o700)
    assert "nothing is there" in complaint(here("echo", "send", name))
    line = complaint(here("echo", "send", name, "--wait", "0.1"))
    assert "(waited 0.1 s)" in line
    # The advice names the command's option, and not the argument of connect.
    for arguments in (["echo", "send"], ["call"]):
        line = complaint(here(*arguments, name))
        assert "--wait SECONDS" in line
        assert "wait=" not in line


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
def test_a_name_in_use_is_refused(name: str) -> None:
    with serving(name):
        assert "in use by " in complaint(here("echo", "serve", name))


@posix_files
def test_an_unsafe_directory_is_refused(place: Path, name: str) -> None:
    place.chmod(0o777)
    for arguments in (["serve", name], ["send", name]):
        assert "can be written by others" in complaint(here("echo", *arguments))


# The progress bar


@posix_terminal
def test_long_input_shows_a_bar_on_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal() as (master, slave), serving(name):
        with sending(name, stderr=slave) as client:
            shown(master, until=b"MB")
            out, _ = client.communicate(timeout=LIMIT)
            assert client.returncode == 0
        # The cursor, which was hidden, is back.
        shown(master, until=b"\x1b[?25h")
    assert out.startswith(b"1048576 bytes ")


@posix_terminal
def test_ctrl_c_removes_the_bar(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
