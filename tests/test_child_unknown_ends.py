"""Where SIGCHLD is ignored, the system does not tell how children have ended (POSIX)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import ipcpipes
from ipcpipes import blocking

from . import programs
from .conftest import WINDOWS

if WINDOWS:
    pytest.skip("Windows keeps the status with the handle", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING

from .forking import in_forked_child

EXITS = [sys.executable, "-c", "raise SystemExit(0)"]


@contextmanager
def sigchld_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_killed_child_with_sigchld_ignored_is_unknown() -> None:
    with sigchld_ignored(), pytest.warns(RuntimeWarning, match="SIGCHLD is ignored"):
        async with ipcpipes.open_child(programs.HANG) as child:
            assert (child.reason, child.status) == (None, None)
            os.kill(child.pid, signal.SIGKILL)
            assert await child.wait() == 255
            assert (child.reason, child.status) == ("unknown", 255)
    # It stays so, whatever is done about the signal.
    assert repr(child) == f"<ipcpipes Child process {child.pid}, unknown, status 255>"


def test_killed_child_is_unknown_in_the_blocking_driver() -> None:
    with sigchld_ignored(), pytest.warns(RuntimeWarning, match="SIGCHLD is ignored"):
        with blocking.open_child(programs.HANG) as child:
            assert (child.reason, child.status) == (None, None)
            os.kill(child.pid, signal.SIGKILL)
            assert child.wait(timeout=20) == 255
    assert (child.reason, child.status) == ("unknown", 255)


@pytest.mark.filterwarnings("ignore:SIGCHLD is ignored")
def test_terminated_child_keeps_its_reason() -> None:
    with sigchld_ignored(), blocking.open_child(programs.HANG, grace=5) as child:
        child.terminate()
    assert (child.reason, child.status) == ("terminated", 255)


@pytest.mark.filterwarnings("ignore:SIGCHLD is ignored")
def test_sigchld_ignored_after_the_start_is_noticed() -> None:
    with blocking.open_child(EXITS) as child:
        with sigchld_ignored():
            child.wait(timeout=20)
            assert child.reason == "unknown"
    with sigchld_ignored():
        with blocking.open_child(EXITS) as child:
            pass
    assert child.reason == "unknown"


def test_known_status_is_reported() -> None:
    with blocking.open_child(EXITS) as child:
        child.wait(timeout=20)
    assert (child.reason, child.status) == ("exited", 0)
    with sigchld_ignored():  # too late to matter
        assert (child.reason, child.status) == ("exited", 0)


def test_warning_as_error_leaves_no_child() -> None:
    with sigchld_ignored(), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning), blocking.open_child(programs.HANG):
            pytest.fail("it was started")


INHERITING = """
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
subprocess.call([sys.executable, "-c", '''
import os, sys
from ipcpipes import blocking
with blocking.open_child([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
    os.kill(child.pid, 9)
    child.wait()
print(child.reason, child.status)
'''])
"""


def test_ignored_sigchld_may_be_inherited() -> None:
    done = subprocess.run([sys.executable, "-c", INHERITING], capture_output=True, check=True)
    assert done.stdout == b"unknown 255\n"
    assert b"RuntimeWarning: SIGCHLD is ignored" in done.stderr


def test_forked_process_reports_unknown_for_children() -> None:
    with blocking.open_child(programs.HANG, grace=0) as child:
        assert in_forked_child(lambda: (child.reason, child.status)) == "('unknown', 255)"
        assert child.reason is None


@pytest.mark.filterwarnings("ignore:SIGCHLD is ignored")
async def test_group_works_with_sigchld_ignored(caplog: pytest.LogCaptureFixture) -> None:
    program = programs.trio_program("""
    async with ipcpipes.group_worker() as worker:
        async for message in worker:
            if message == b"crash":
                os._exit(0)
            await worker.send(message)
    """)
    answers: list[bytes] = []
    answered = trio.Event()

    async def on_message(number: int, message: bytes) -> None:
        answers.append(message)
        answered.set()

    with sigchld_ignored():
        group = ipcpipes.WorkerGroup(program, 1, on_message=on_message)
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            before = group.pids[0]
            await group.send(b"crash")
            with trio.fail_after(30):
                while group.pids.get(0) in (before, None):
                    await trio.sleep(0.01)
                await group.send(b"again", worker=0)
                await answered.wait()
            group.stop()
    assert answers == [b"again"]
    assert "worker 0 ended (unknown, status 255)" in caplog.text
