"""Programs that run as other users; only root can start them (POSIX).

They change their user after they have loaded everything, because other users may not be able to
read the files of Python itself.
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
    """Returns the command that runs ``body``, which calls ``become(uid, gid, groups)`` itself."""
    return [sys.executable, "-c", _BECOME + textwrap.dedent(body), *map(str, arguments)]


@contextmanager
def running(body: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Runs ``body``, waits for its first line ("ready"), and kills it at the end."""
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
    """Runs ``body`` until it ends, and returns its output."""
    found = subprocess.run(
        program(body, *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()
