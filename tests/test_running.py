"""Programs that a signal ends: no traceback, the right exit status, and nothing left behind."""

from __future__ import annotations

import inspect
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import blocking, rpc
from ipcpipes.rpc import blocking as rpc_blocking

from .children import SECONDS
from .echo_runs import as_users_have_it

WINDOWS = sys.platform == "win32"
README = Path(__file__).resolve().parent.parent / "README.md"

# On Windows a process cannot send Ctrl-C to only one other process ("GenerateConsoleCtrlEvent").
# So the program does what the console does: it runs the handler of the C library in another thread.
if sys.platform == "win32":
    SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGBREAK, 149)]
    APART: Any = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{number.value}\n")
        process.stdin.flush()

else:
    SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
    APART: Any = {"start_new_session": True}

    def send(process: subprocess.Popen[str], number: signal.Signals) -> None:
        process.send_signal(number)


HEAD = """
import os, signal, sys, threading, time
import trio, ipcpipes
from ipcpipes import blocking, rpc
from ipcpipes.rpc import blocking as rpc_blocking

def say(*words):
    print(*words, flush=True)

def wait():
    # A signal that arrives just before a long sleep begins would be handled only after it.
    while True:
        time.sleep(0.05)

def raise_signal_from_input():
    signal.raise_signal(int(os.read(0, 10)))

if sys.platform == "win32":
    threading.Thread(target=raise_signal_from_input, daemon=True).start()
"""

each_signal = pytest.mark.parametrize(("number", "status"), SIGNALS)
posix_signals = pytest.mark.skipif(WINDOWS, reason="signals from another process")

STREAMS = """
async def handler(stream):
    async for data in stream:
        await stream.send_all(data)

ipcpipes.run(ipcpipes.serve, handler, "ended")
"""
MESSAGES = """
async def handler(channel):
    async for message in channel:
        await channel.send(message)

ipcpipes.run(ipcpipes.serve_messages, handler, "ended")
"""
BLOCKING = """
def handler(stream):
    with stream:
        for data in stream:
            stream.send_all(data)

def main():
    with blocking.listen("ended") as listener:
        for stream in listener:
            threading.Thread(target=handler, args=(stream,), daemon=True).start()

blocking.run(main)
"""
BLOCKING_ONE_AT_A_TIME = """
def main():
    with blocking.listen_messages("ended") as listener:
        for channel in listener:
            with channel:
                for message in channel:
                    channel.send(message)

blocking.run(main)
"""
DOUBLER = """
class Doubler(rpc.Interface, uuid="60718293-a4b5-46c7-98e9-faabbccddeec", version=(1, 0)):
    @rpc.operation
    def double(self, number: int) -> int: ...

class Manager(Doubler):
    def double(self, number):
        return 2 * number
"""
CALLS = f"{DOUBLER}\nipcpipes.run(rpc.serve, Manager(), 'ended')"
BLOCKING_CALLS = f"{DOUBLER}\nblocking.run(rpc_blocking.serve, Manager(), 'ended')"


class Doubler(rpc.Interface, uuid="60718293-a4b5-46c7-98e9-faabbccddeec", version=(1, 0)):
    @rpc.operation
    def double(self, number: int) -> int:
        raise NotImplementedError


# Each waits for an answer, so that the server has entered the block of the connection. Python warns
# about a connection that is dropped before.


@contextmanager
def by_stream() -> Iterator[None]:
    with blocking.connect("ended", wait=SECONDS) as stream:
        stream.send_all(b"there?")
        assert stream.receive_some() == b"there?"
        yield


@contextmanager
def by_messages() -> Iterator[None]:
    with blocking.connect_messages("ended", wait=SECONDS) as channel:
        channel.send(b"there?")
        assert channel.receive() == b"there?"
        yield


@contextmanager
def by_calls() -> Iterator[None]:
    with rpc_blocking.connect(Doubler, "ended", wait=SECONDS) as doubler:
        assert doubler.double(2) == 4
        yield


SERVERS = {
    "streams": (STREAMS, by_stream),
    "messages": (MESSAGES, by_messages),
    "calls": (CALLS, by_calls),
    "blocking": (BLOCKING, by_stream),
    "blocking, one at a time": (BLOCKING_ONE_AT_A_TIME, by_messages),
    "blocking calls": (BLOCKING_CALLS, by_calls),
}
each_server = pytest.mark.parametrize("server", SERVERS)


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        yield directory


@contextmanager
def running(body: str) -> Iterator[subprocess.Popen[str]]:
    """Runs the program until the end of the block."""
    code = HEAD + textwrap.dedent(body)
    # A background job of a shell script ignores SIGINT, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **APART,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str], line: str) -> None:
    """Waits for the next line of output."""
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == f"{line}\n", process.stderr.read()


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


@each_signal
@each_server
def test_signal_ends_server_cleanly(
    server: str, number: signal.Signals, status: int, place: Path
) -> None:
    program, connected = SERVERS[server]
    with running(program) as process, connected():
        assert WINDOWS or list(place.rglob("*.sock"))
        send(process, number)
        assert end(process) == (status, "", "")
        assert not list(place.rglob("*.sock")), "the socket file is removed"


def test_a_blocking_server_completes_its_calls_on_sigterm(place: Path) -> None:
    """As the guide of RPC has it."""
    body = f"""{DOUBLER}
told = []
listener = blocking.listen("ended")

def finish(number, frame):
    told.append(number)
    listener.close()

class Patient(Manager):
    def double(self, number):
        say("called")
        while not told:
            time.sleep(0.001)
        return 2 * number

signal.signal(signal.SIGTERM, finish)
rpc_blocking.serve(Patient(), listener, grace={SECONDS})
sys.exit(128 + told[0])
"""
    with running(body) as process:
        with rpc_blocking.connect(Doubler, "ended", wait=SECONDS) as doubler:
            with rpc_blocking.operation_of(doubler.double).begin(4) as call:
                heard(process, "called")
                send(process, signal.SIGTERM)
                assert call.complete(timeout=SECONDS) == 8
        assert end(process) == (143, "", "")
    assert not list(place.rglob("*.sock"))


@pytest.mark.skipif(not WINDOWS, reason="about consoles")
@pytest.mark.wine_differs("a process without a console has no Ctrl-Break")
@each_server
def test_ctrl_break_ends_server_cleanly(server: str) -> None:
    program, connected = SERVERS[server]
    if sys.platform == "win32":
        with running(program) as process, connected():
            process.send_signal(signal.CTRL_BREAK_EVENT)
            assert end(process) == (149, "", "")


@pytest.mark.skipif(not README.exists(), reason="the documents are not beside the tests")
@each_signal
def test_signal_ends_readme_server_cleanly(
    number: signal.Signals, status: int, place: Path
) -> None:
    server = re.findall(
        r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )[0]
    with running(server) as process:
        with blocking.connect("hello", wait=SECONDS) as stream:
            stream.send_all(b"hello")
            assert stream.receive_some() == b"hello"
            send(process, number)
            assert end(process) == (status, "", "")
            assert stream.receive_some(timeout=SECONDS) == b""
    assert not list(place.rglob("*.sock"))


@posix_signals
@pytest.mark.parametrize("last", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_at_once(last: signal.Signals) -> None:
    body = """
    async def main():
        try:
            say("ready")
            await trio.sleep_forever()
        finally:
            say("closing")
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
    ipcpipes.run(main)
    """
    with running(body) as process:
        heard(process, "ready")
        process.send_signal(signal.SIGINT)
        heard(process, "closing")
        process.send_signal(last)
        expected = 130 if last == signal.SIGINT else -last
        assert end(process) == (expected, "", "")


@posix_signals
def test_second_signal_ends_at_once_without_an_event_loop() -> None:
    body = """
    def main():
        try:
            say("ready")
            wait()
        finally:
            say("closing")
            wait()
    blocking.run(main)
    """
    with running(body) as process:
        heard(process, "ready")
        process.send_signal(signal.SIGTERM)
        heard(process, "closing")
        process.send_signal(signal.SIGINT)
        assert end(process) == (143, "", "")


@posix_signals
@pytest.mark.parametrize("door", ["trio", "blocking"])
def test_ignored_and_handled_signals_are_unchanged(door: str) -> None:
    body = """
    heard = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: heard.append("heard"))
    async def trio_main():
        say("ready")
        while not heard:
            await trio.sleep(0.01)
        say(*heard)
    def blocking_main():
        say("ready")
        while not heard:
            time.sleep(0.01)
        say(*heard)
    """ + {"trio": "ipcpipes.run(trio_main)", "blocking": "blocking.run(blocking_main)"}[door]
    with running(body) as process:
        heard(process, "ready")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert end(process) == (0, "heard\n", "")


def test_run_returns_and_raises_what_main_does() -> None:
    async def double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * number

    async def fail() -> None:
        raise LookupError("as it is")

    def fail_at_once() -> None:
        raise LookupError("as it is")

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert ipcpipes.run(double, 4) == 8
    assert blocking.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(LookupError, match="as it is"):
        ipcpipes.run(fail)
    with pytest.raises(LookupError, match="as it is"):
        blocking.run(fail_at_once)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_error_while_closing_is_raised() -> None:
    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        finally:
            raise LookupError("in the end")

    def blocking_main() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise LookupError("in the end")

    with pytest.raises(LookupError, match="in the end"):
        ipcpipes.run(main)
    with pytest.raises(LookupError, match="in the end"):
        blocking.run(blocking_main)


def test_signal_raises_system_exit_with_status() -> None:
    async def main() -> None:
        with suppress(trio.Cancelled):
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()

    with pytest.raises(SystemExit) as caught:
        ipcpipes.run(main)
    assert caught.value.code == 143

    def blocking_main() -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        blocking.run(blocking_main)
    assert caught.value.code == 143


@pytest.mark.filterwarnings("error")
def test_main_must_be_a_function() -> None:
    async def main() -> None:
        pytest.fail("it ran")

    for door in (ipcpipes.run, blocking.run):
        run: Any = door
        coroutine = main()
        with pytest.raises(TypeError, match=r"pass the function, not the coroutine: run\(main\)"):
            run(coroutine)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
        with pytest.raises(TypeError, match="main must be a function, not 5"):
            run(5)
    with pytest.raises(TypeError, match=r"must be an async function, and .* returned None"):
        ipcpipes.run(lambda: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="is an async function; use ipcpipes"):
        blocking.run(main)  # type: ignore[unused-coroutine]


def test_run_works_only_in_the_main_thread() -> None:
    said: list[str] = []

    def run() -> None:
        for door in (ipcpipes.run, blocking.run):
            with pytest.raises(RuntimeError, match="main thread") as caught:
                door(print)  # type: ignore[arg-type]
            said.append(str(caught.value))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(said) == 2


@each_signal
def test_signal_ends_commands_cleanly(number: signal.Signals, status: int, place: Path) -> None:
    body = """
    from ipcpipes.__main__ import main
    sys.exit(main(["echo", "serve", "ended"]))
    """
    with running(body) as process, by_stream():
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on")
        send(process, number)
        assert end(process) == (status, "", "")
    assert not list(place.rglob("*.sock"))
