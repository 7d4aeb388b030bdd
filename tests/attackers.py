"""Programs that the tests run as other users, who mean no good.

A second user is another uid. It needs no account, so that none is made for it: the kernel looks at
the number alone.
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

# It becomes another user only when it has loaded everything: Python itself may lie where others may
# not look. The array is what send_fds loads when it is called.
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
_OURS = """
import errno, gc, resource, trio, trio._core._run, ipcpipes, ipcpipes.connect
from ipcpipes import AccessPolicy, Endpoint
def doors(where):
    '''What listen and connect say of it.'''
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
    """Runs ``program`` as this user, without ipcpipes.

    It finds ``say(...)``, ``hear()``, ``told_to_stop()`` and ``sys.argv[1:]``.
    """
    become = f"become({uid}, {gid}, {list(groups)})\n"
    with running(_PRELUDE + become + textwrap.dedent(program), *map(str, arguments)) as child:
        yield child


@contextmanager
def ordinary_user(program: str, *arguments: str | Path, uid: int = VICTIM) -> Iterator[Child]:
    """The same with ipcpipes and ``doors(where)``, for who uses it without root's power."""
    become = f"become({uid}, {NO_GROUP})\n"
    source = _PRELUDE + _OURS + become + textwrap.dedent(program)
    with running(source, *map(str, arguments)) as child:
        yield child


def what_is_said(child: Child) -> list[str]:
    """All lines of a program that ends by itself."""
    assert child.process.stdout is not None
    lines = child.process.stdout.read().splitlines()
    assert child.wait() == 0
    return lines
