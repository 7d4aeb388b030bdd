"""The examples do what they promise, started as their users start them."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

import ipcpipes
from ipcpipes.testing import unique_endpoint

from .children import SECONDS
from .conftest import WINDOWS

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

if not EXAMPLES.exists():
    pytest.skip("the examples are not beside the tests", allow_module_level=True)

PREFORK = EXAMPLES / "prefork"
PROGRESS = EXAMPLES / "progress" / "progress.py"
LOGS = EXAMPLES / "log_shipping.py"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONUTF8": "1", "PYTHONWARNINGS": "error", **more}


def run(*words: object, status: int = 0) -> str:
    """Runs a Python program to its end, and returns what it printed."""
    result = subprocess.run(
        [sys.executable, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS,
        env=environment(),
        check=False,
    )
    assert result.returncode == status, result.stdout
    assert "Traceback" not in result.stdout
    return result.stdout


class Running:
    """A running program; its lines of output are collected."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Waits for a line that contains ``pattern``, and returns it."""
        found: list[str] = []

        def has_arrived() -> bool:
            found[:] = [line for line in self.lines if re.search(pattern, line)]
            return bool(found) or not self._thread.is_alive()

        with self._changed:
            self._changed.wait_for(has_arrived, SECONDS)
        assert found, "\n".join(self.lines)
        return found[0]

    def end(self) -> int:
        """Waits for the end of the program and returns its exit status."""
        status = self.process.wait(SECONDS)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "another process keeps its output open"
        return status


@contextmanager
def running(*words: object) -> Iterator[Running]:
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env=environment(),
    ) as process:
        program = Running(process)
        try:
            yield program
        finally:
            process.kill()
            program.end()


class Prefork:
    """The master of examples/prefork."""

    def __init__(self, master: Running, name: str, phrases: Path) -> None:
        self.master = master
        self.name = name
        self.phrases = phrases

    def ask(self, *words: str) -> str:
        return run(PREFORK / "client.py", "--name", self.name, *words)

    def tell(self, command: str) -> list[int]:
        """Sends a command and returns the process ids of the workers."""
        said = run(PREFORK / "server.py", command, "--name", self.name)
        assert said.startswith("workers:")
        return [int(word) for word in said.split()[1:]]

    def write(self, text: str) -> None:
        self.phrases.write_text(text, "utf-8")

    def wait_for_answer(self, word: str, answer: str) -> None:
        """Waits until the workers use the new phrases."""
        ask = runpy.run_path(str(PREFORK / "client.py"))["ask"]
        deadline = time.monotonic() + SECONDS
        while ask(self.name, word) != answer:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@contextmanager
def prefork_master(name: str, phrases: Path) -> Iterator[Prefork]:
    words = ("start", phrases, "--name", name, "--workers", "2")
    with running(PREFORK / "server.py", *words) as master:
        master.wait_for("^ready:")
        prefork = Prefork(master, name, phrases)
        yield prefork
        if master.process.poll() is None:
            prefork.tell("stop")
            assert master.end() == 0, master.lines


@pytest.fixture
def prefork(tmp_path: Path) -> Iterator[Prefork]:
    phrases = tmp_path / "phrases.json"
    shutil.copy(PREFORK / "phrases.json", phrases)
    with prefork_master(unique_endpoint().name, phrases) as found:
        yield found


def test_prefork_answers_reloads_and_stops(prefork: Prefork) -> None:
    assert prefork.ask("hello", "thank you", "cheese") == (
        "hello: hola\nthank you: gracias\ncheese: ?\n"
    )
    prefork.write('{"hello": "bonjour"}')
    assert len(prefork.tell("reload")) == 2
    prefork.wait_for_answer("hello", "bonjour")
    prefork.write("not JSON")
    prefork.tell("reload")
    prefork.master.wait_for("the old phrases stay")
    assert prefork.ask("hello") == "hello: bonjour\n"
    prefork.tell("stop")
    assert prefork.master.end() == 0, prefork.master.lines
    ended = [line for line in prefork.master.lines if line.endswith("exited, status 0")]
    assert len(ended) == 2, prefork.master.lines


def test_prefork_renews_its_workers_without_lost_clients(prefork: Prefork) -> None:
    client = runpy.run_path(str(PREFORK / "client.py"))
    # On Windows a client can lose its connection at the moment of the change, and asks again.
    ask: Callable[[str, str], str] = client["ask" if WINDOWS else "ask_once"]
    answers: list[str | BaseException] = []
    enough = threading.Event()

    def keep_asking() -> None:
        while not enough.is_set():
            try:
                answers.append(ask(prefork.name, "hello"))
            except BaseException as error:
                answers.append(error)
                return

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        before = prefork.tell("reload")
        after = prefork.tell("renew")
    finally:
        enough.set()
        for thread in threads:
            thread.join(SECONDS)
    assert not set(before) & set(after)
    assert len(answers) > 10
    assert set(answers) == {"hola"}


def test_prefork_replaces_a_worker_that_was_killed(prefork: Prefork) -> None:
    victim, survivor = prefork.tell("reload")
    os.kill(victim, getattr(signal, "SIGKILL", signal.SIGTERM))
    prefork.master.wait_for("starting it again")
    deadline = time.monotonic() + SECONDS
    while len(pids := prefork.tell("reload")) < 2:
        assert time.monotonic() < deadline
    assert survivor in pids
    assert victim not in pids
    assert prefork.ask("hello") == "hello: hola\n"


@pytest.mark.skipif(WINDOWS, reason="Windows has no SIGHUP, and SIGTERM ends a process at once")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prefork_reloads_and_stops_on_signals(prefork: Prefork, number: signal.Signals) -> None:
    workers = prefork.tell("reload")
    prefork.write('{"hello": "moin"}')
    prefork.master.process.send_signal(getattr(signal, "SIGHUP"))  # noqa: B009  # not in Windows
    prefork.wait_for_answer("hello", "moin")
    prefork.master.process.send_signal(number)
    assert prefork.master.end() == 0, prefork.master.lines
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_prefork_ends_with_its_master_and_can_restart(prefork: Prefork) -> None:
    assert prefork.ask("hello") == "hello: hola\n"
    prefork.master.process.kill()
    prefork.master.end()
    ask_once = runpy.run_path(str(PREFORK / "client.py"))["ask_once"]
    ask_once.__globals__["WAIT"] = 0.0
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            ask_once(prefork.name, "hello")
        except (ipcpipes.EndpointNotFound, ipcpipes.EndpointRefused):
            break  # the last worker has ended
        except (ipcpipes.EndpointBusy, trio.EndOfChannel, trio.BrokenResourceError):
            pass
        assert time.monotonic() < deadline
    with prefork_master(prefork.name, prefork.phrases) as again:
        assert again.ask("hello") == "hello: hola\n"


def test_prefork_reports_a_missing_server() -> None:
    name = unique_endpoint().name
    said = run(PREFORK / "server.py", "reload", "--name", name, status=1)
    assert "start the server first" in said


def test_progress_prints_lines_without_a_terminal() -> None:
    said = run(PROGRESS, "--stand-in", "--speed", "60")
    tenths = [int(line.removesuffix(" %")) // 10 for line in said.splitlines()]
    assert tenths == sorted(set(tenths)), "one line for each tenth; a busy machine skips some"
    assert tenths[0] < 5
    assert tenths[-1] == 10


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.skipif(WINDOWS, reason="the terminal is made with the pty module")
def test_progress_draws_a_bar_on_a_terminal(rich: bool) -> None:
    if sys.platform != "win32":
        import pty

        if rich:
            pytest.importorskip("rich")
        without = "" if rich else "import sys; sys.modules['rich.progress'] = None\n"
        code = f"{without}import runpy; runpy.run_path({str(PROGRESS)!r}, run_name='__main__')"
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            process = subprocess.Popen(
                [sys.executable, "-c", code, "--stand-in", "--speed", "60"],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env=environment(TERM="xterm", COLUMNS="80"),
            )
            os.close(theirs)
            drawn = b""
            try:
                while data := terminal.read(4096):
                    drawn += data
            except OSError:
                pass  # Linux: the other end is closed
            assert process.wait(SECONDS) == 0, drawn
        assert b"100%" in drawn
        assert ("━" if rich else "###").encode() in drawn


def test_progress_reports_why_the_encoder_failed() -> None:
    said = run(PROGRESS, "--stand-in", "--fail-at", "6", status=1)
    status = 228
    assert said.splitlines()[-1] == (
        f"Error writing the trailer: No space left on device (the encoder: exited, status {status})"
    )


# Raises the signal inside the program, because a Ctrl-C of the console reaches all programs in it,
# and cannot be sent to only one.
INTERRUPTED = """
import runpy, signal, sys, threading
threading.Timer(float(sys.argv[2]), signal.raise_signal, [signal.SIGINT]).start()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.skipif(not WINDOWS, reason="on other systems the signal itself is sent")
def test_progress_ends_cleanly_on_raised_ctrl_c() -> None:
    said = run("-c", INTERRUPTED, PROGRESS, "3", "--stand-in", "--speed", "2", status=1)
    assert said.splitlines()[-1] == "stopped (the encoder: exited, status 0)"


@pytest.mark.skipif(WINDOWS, reason="Ctrl-C cannot be sent to one process")
def test_progress_ends_cleanly_on_sent_ctrl_c() -> None:
    with running(PROGRESS, "--stand-in", "--speed", "2") as program:
        program.wait_for("^0 %")
        program.process.send_signal(signal.SIGINT)
        assert program.end() == 1
        assert program.lines[-1] == "stopped (the encoder: exited, status 0)"


@pytest.mark.skipif(WINDOWS, reason="there is no /bin/sh, and the numbers are those of handles")
def test_foreign_programs_answer() -> None:
    said = run(EXAMPLES / "foreign" / "foreign.py").splitlines()
    assert said[:2] == [r"b'SCRIPT, ENVIRONMENT\n'", r"b'SCRIPT, ARGUMENTS\n'"]
    if shutil.which("cc") is None:
        assert said[2:] == ["no C compiler here"]
    else:
        assert said[2:] == [r"b'C, ENVIRONMENT\n'", r"b'C, ARGUMENT\n'"]


@pytest.mark.skipif(not WINDOWS, reason="the programs run on other systems")
def test_foreign_programs_report_unsupported_system() -> None:
    said = run(EXAMPLES / "foreign" / "foreign.py", status=1)
    assert "POSIX" in said


class LogServer:
    """The server of examples/log_shipping.py."""

    def __init__(self, name: str, program: Running, directory: Path) -> None:
        self.name = name
        self.program = program
        self.directory = directory

    def ask(self, *words: object, status: int = 0) -> str:
        return run(LOGS, "--name", self.name, *words, status=status)


@pytest.fixture
def log_server(tmp_path: Path) -> Iterator[LogServer]:
    name = unique_endpoint().name
    directory = tmp_path / "logs"
    with running(LOGS, "--name", name, "serve", directory) as program:
        program.wait_for("^ready")
        yield LogServer(name, program, directory)
        if not WINDOWS:
            program.process.send_signal(signal.SIGINT)
            assert program.end() == 0, program.lines


def test_log_shipping_counts_and_finds(log_server: LogServer, tmp_path: Path) -> None:
    many = [f"{number} {'ERROR' if number % 1000 == 7 else 'INFO'}" for number in range(200_000)]
    app, web = tmp_path / "app.log", tmp_path / "web.log"
    app.write_bytes("".join(f"{line}\n" for line in many).encode())
    web.write_bytes(b"INFO started\nERROR and no end of line")
    said = log_server.ask("ship", app, web)
    assert said == (
        f"app.log: 200000 lines, {app.stat().st_size} bytes\nweb.log: 2 lines, 38 bytes\n"
    )
    kept = log_server.directory / "app.log"
    assert kept.read_bytes() == app.read_bytes()
    found = log_server.ask("search", "ERROR").splitlines()
    assert found == [
        *(f"app.log: {line}" for line in many if "ERROR" in line),
        "web.log: ERROR and no end of line",
        "searched 2 logs",
    ]
    assert log_server.ask("search", "nowhere") == "searched 2 logs\n"


def test_log_shipping_refuses_bad_names(log_server: LogServer, tmp_path: Path) -> None:
    hidden = tmp_path / ".hidden"
    hidden.write_bytes(b"line\n")
    assert log_server.ask("ship", hidden, status=1) == "'.hidden' is not a name of a log\n"
    assert "no-such.log" in log_server.ask("ship", tmp_path / "no-such.log", status=1)
    assert log_server.ask("search", "line") == "searched 0 logs\n"


def test_log_shipping_follows_appended_lines(log_server: LogServer, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"first\n")
    with running(LOGS, "--name", log_server.name, "ship", "--follow", log) as program:
        for line in ("second", "third"):
            with log.open("ab") as file:
                file.write(f"{line}\n".encode())
            deadline = time.monotonic() + SECONDS
            # The line is found while the call that ships it is still open.
            while f"app.log: {line}" not in log_server.ask("search", line):
                assert time.monotonic() < deadline, program.lines
        if not WINDOWS:
            program.process.send_signal(signal.SIGINT)
            assert program.end() == 0, program.lines
            assert program.lines == ["app.log: 3 lines, 19 bytes"]


# In CI, Node.js is there, except under Wine.
@pytest.mark.skipif(
    shutil.which("node") is None and (WINDOWS or "CI" not in os.environ),
    reason="there is no Node.js here",
)
def test_a_client_in_node_calls_the_shop() -> None:
    node = shutil.which("node")
    assert node is not None
    folder = EXAMPLES / "node"
    with running(folder / "shop.py", unique_endpoint().name) as shop:
        address = shop.wait_for(".+")
        result = subprocess.run(
            [node, str(folder / "client.mjs"), address],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )
        if not WINDOWS:  # Ctrl-C; there, the system removes the pipe of a process that was killed
            shop.process.send_signal(signal.SIGINT)
            assert shop.end() == 130  # as shells count
    assert result.stdout.splitlines() == [
        "paper costs 5.5",
        "NotSold (404): the shop does not sell this",
        "sold for 75000",
        "the first is red pen for 2",
        "found 50001",
        "enough: blue pen 1",
        "paper still costs 5.5",
    ]
    assert result.returncode == 0
