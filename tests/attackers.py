"""Attacking programs, which the tests run as another user.

Another user is another uid. It needs no account, because the kernel looks only at the number.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .children import Child, running

OTHER = 54321
VICTIM = 54323
GROUP = 54322
NO_GROUP = 65534

as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0,
    reason="only root can start a program as another user",
)

# The program changes its user after it has loaded everything, because other users may not be able
# to read the files of Python itself. send_fds would load the array module when it is called.
_PRELUDE = """
import array, ctypes, fcntl, os, random, select, signal, socket, stat, sys, time
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
def told_to_stop():
    return bool(select.select([0], [], [], 0)[0])
def become(uid, gid, groups=()):
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
"""
_IPCPIPES = """
import errno, gc, resource, trio, trio._core._run, ipcpipes
from ipcpipes import AccessPolicy, Endpoint
def doors(where):
    '''Prints what listen and connect do there.'''
    async def main():
        for door in (ipcpipes.listen, ipcpipes.connect):
            try:
                async with await door(where) as opened:
                    say(type(opened).__name__, opened.address)
            except OSError as error:
                say(type(error).__name__, error)
    trio.run(main)
"""


@contextmanager
def attacker(
    program: str,
    *arguments: str | Path,
    uid: int = OTHER,
    gid: int = NO_GROUP,
    groups: Sequence[int] = (),
) -> Iterator[Child]:
    """Runs ``program`` as another user, without ipcpipes.

    The program can use ``say(...)``, ``hear()``, ``told_to_stop()`` and ``sys.argv[1:]``.
    """
    become = f"become({uid}, {gid}, {list(groups)})\n"
    with running(_PRELUDE + become + textwrap.dedent(program), *map(str, arguments)) as child:
        yield child


@contextmanager
def ordinary_user(program: str, *arguments: str | Path, uid: int = VICTIM) -> Iterator[Child]:
    """Runs ``program`` as an unprivileged user, with ipcpipes and ``doors(where)``."""
    become = f"become({uid}, {NO_GROUP})\n"
    source = _PRELUDE + _IPCPIPES + become + textwrap.dedent(program)
    with running(source, *map(str, arguments)) as child:
        yield child


def what_is_said(child: Child) -> list[str]:
    """Returns all lines of a program that ends by itself."""
    assert child.process.stdout is not None
    lines = child.process.stdout.read().splitlines()
    assert child.wait() == 0
    return lines
