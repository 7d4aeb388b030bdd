"""Runs ``python -m ipcpipes``: as users do, in processes of their own, or in this process.

The start of a process takes most of the time of such a test. So tests that only compare the output
and the exit status run the command :func:`here`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ipcpipes.__main__ import main

LIMIT = 60.0  # seconds, for an operation that takes 1 on an idle machine

posix_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no signals that one process can send another"
)
posix_shell = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no POSIX shell to close or ignore things with"
)
posix_files = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no FIFOs in the file system and no file modes"
)
posix_stdin = pytest.mark.skipif(
    sys.platform == "win32", reason='on Windows a pipe is read only when FILE is "-"'
)


@contextlib.contextmanager
def as_users_have_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sets the environment of the processes, with an empty directory for the sockets of plain
    names. It is not tmp_path, whose path is too long for a socket.
    """
    base = None if sys.platform == "win32" else "/tmp"
    directory = Path(tempfile.mkdtemp(prefix="ipc", dir=base))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    # Unclosed resources are reported on standard error, which the tests compare.
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    # As users have it: standard output has a buffer, which the interpreter flushes at its exit.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    yield directory
    shutil.rmtree(directory)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ipcpipes", *map(str, arguments)]


def finish(
    *arguments: str | Path, text: bytes | None = None, stdin: Any = subprocess.DEVNULL
) -> subprocess.CompletedProcess[bytes]:
    """Runs it to its end; standard input is ``text`` through a pipe, or ``stdin``."""
    source = {"stdin": stdin} if text is None else {"input": text}
    return subprocess.run(
        command(*arguments), capture_output=True, timeout=LIMIT, check=False, **source
    )


def here(*arguments: str | Path, text: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """The same as :func:`finish` in this process, in its main thread: without the start of Python,
    the import of the package and the exit. Standard input is a pipe with a short ``text``.
    """
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:
        pipe.write(text or b"")
    written = [io.BytesIO(), io.BytesIO()]
    out, err = (io.TextIOWrapper(stream, encoding="utf-8") for stream in written)
    words = [str(argument) for argument in arguments]
    with open(reading, encoding="utf-8") as stdin, pytest.MonkeyPatch.context() as patch:
        for name, stream in (("stdin", stdin), ("stdout", out), ("stderr", err)):
            patch.setattr(sys, name, stream)
        status = main(words)
    out.flush()
    err.flush()
    return subprocess.CompletedProcess(words, status, *(stream.getvalue() for stream in written))


@contextlib.contextmanager
def running(*arguments: str | Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Starts it. It has ended at the end of the block, also if the block raises."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
    options.setdefault("stderr", subprocess.PIPE)
    # If these tests run under `nohup` or in the background of a script, SIGINT is ignored, and
    # the children would inherit that.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command(*arguments), start_new_session=True, **options)
    finally:
        signal.signal(signal.SIGINT, previous)
    try:
        with process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        assert process.returncode is not None


# What only POSIX has. "if" and not "assert", because mypy understands only that.


def make_fifo(path: Path) -> Path:
    if sys.platform != "win32":
        os.mkfifo(path)
    return path


def press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    """Sends SIGINT to the process group, as a terminal does."""
    if sys.platform != "win32":
        # macOS raises EPERM if only a zombie is left of the group.
        with contextlib.suppress(PermissionError):
            os.killpg(process.pid, signal.SIGINT)


def kill(pid: int) -> None:
    if sys.platform != "win32":
        os.kill(pid, signal.SIGKILL)


# How it ends


def ctrl_c(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    press_ctrl_c(process)
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def eventually(condition: Callable[[], Any]) -> Any:
    """Polls, for events that cannot be waited for."""
    deadline = time.monotonic() + LIMIT
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def has_ended(pid: int) -> bool:
    """A zombie has ended: its new parent, init or the like, may never ask for its status."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return state.stdout.strip()[:1] in (b"", b"Z")


def ended_within(pid: int, seconds: float) -> bool:
    """Whether the process has ended by then."""
    if sys.platform == "win32":
        import _winapi

        try:
            handle = _winapi.OpenProcess(_winapi.SYNCHRONIZE, False, pid)
        except OSError:
            ended = True
        else:
            waited = _winapi.WaitForSingleObject(handle, int(seconds * 1000))
            _winapi.CloseHandle(handle)
            ended = waited == _winapi.WAIT_OBJECT_0
    else:
        deadline = time.monotonic() + seconds
        while not (ended := has_ended(pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
    return ended


# What it says


def one_line(stderr: bytes) -> str:
    """The only line on standard error, which describes the failure."""
    text = stderr.decode().replace("\r\n", "\n")
    assert text.startswith("ipcpipes: ")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text


def complaint(result: subprocess.CompletedProcess[bytes]) -> str:
    assert result.returncode == 1
    assert result.stdout == b""
    return one_line(result.stderr)


def document(result: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert (result.returncode, result.stderr) == (0, b"")
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded
