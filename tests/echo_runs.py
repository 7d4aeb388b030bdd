"""``python -m ipcpipes echo`` run as users do, in processes of its own, and what it says."""

from __future__ import annotations

import contextlib
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

LIMIT = 60.0  # seconds; for what takes one on an idle machine

posix_signals = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no signals that one process can send another"
)
posix_stdin = pytest.mark.skipif(
    sys.platform == "win32", reason='on Windows a pipe is read only when FILE is "-"'
)


@contextlib.contextmanager
def as_users_have_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The environment of what is run, and a place of its own for plain names; not in tmp_path,
    which is too long for a socket.
    """
    base = None if sys.platform == "win32" else "/tmp"
    directory = Path(tempfile.mkdtemp(prefix="ipc", dir=base))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    # Unclosed resources are reported on standard error, where the tests would see them.
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    # Written as users have it, with a buffer that is emptied at the interpreter's exit.
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


@contextlib.contextmanager
def running(*arguments: str | Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Starts it; whatever happens, it has ended when the block is left."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
    options.setdefault("stderr", subprocess.PIPE)
    # Under `nohup` or in the background of a script SIGINT would be ignored, and the children
    # would inherit that.
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


# What only POSIX has; "if" and not "assert", because mypy understands only that.


def press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    """What a terminal does, to the process and those it has started."""
    if sys.platform != "win32":
        # macOS says EPERM when only a zombie is left of the group.
        with contextlib.suppress(PermissionError):
            os.killpg(process.pid, signal.SIGINT)


def kill(pid: int) -> None:
    if sys.platform != "win32":
        os.kill(pid, signal.SIGKILL)


# How it goes on


def ctrl_c(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    press_ctrl_c(process)
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def eventually(condition: Callable[[], Any]) -> Any:
    """Waits for something that gives no sign when it happens."""
    deadline = time.monotonic() + LIMIT
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def has_ended(pid: int) -> bool:
    """A zombie has: its new parent, not of our making, may never ask for its status."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return state.stdout.strip()[:1] in (b"", b"Z")


# What it says


def one_line(stderr: bytes) -> str:
    """The complaint, which has to be the only thing on standard error."""
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


def assert_sent_twice(facts: dict[str, Any], size: int) -> None:
    """As messages, and as a stream."""
    (messages,) = facts["round_trips"]
    assert messages["message_bytes"] == min(size, 65536)
    assert messages["total_bytes"] == size
    assert messages["count"] >= -(-size // 65536)
    assert facts["stream"]["total_bytes"] == size
    assert facts["verified_bytes"] == 2 * size
