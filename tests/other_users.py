"""Programs that run as other users; only root can start them (POSIX).

They become somebody else when they have loaded everything: Python itself may lie where others may
not look.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

_BECOME = """
import os, socket, sys, trio, ipcpipes
import ipcpipes.rpc, ipcpipes.rpc.blocking
from ipcpipes import AccessPolicy, Group, User, blocking
import trio._core._run
def become(uid, gid=65534, groups=()):
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


def program(body: str, *arguments: object) -> Sequence[str]:
    """The command that runs ``body``, which says ``become(uid, gid, groups)`` when it is ready."""
    return [sys.executable, "-c", _BECOME + textwrap.dedent(body), *map(str, arguments)]


@contextmanager
def running(body: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """It runs, from its first line of output on, and is killed at the end."""
    with subprocess.Popen(
        program(body, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert line(process.stdout) == "ready"
            yield process
        finally:
            process.kill()


def line(output: IO[bytes] | None) -> str:
    assert output is not None
    return output.readline().decode().strip()


def result(body: str, *arguments: object) -> str:
    """What it has said when it has ended."""
    found = subprocess.run(
        program(body, *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()
