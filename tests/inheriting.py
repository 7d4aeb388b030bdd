"""Children that inherit an end of a pipe or socket, started with subprocess as by any program."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .children import Child, running

# For children without ipcpipes: descriptor() returns the file descriptor of an inherited number.
_PRELUDE = """
import os, sys
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
def descriptor(text, flags):
    if sys.platform == "win32":
        import msvcrt
        return msvcrt.open_osfhandle(int(text), flags)
    return int(text)
"""

# Children that take their end over and use it: they print what they receive, and send what they
# read.
USERS = {
    "trio": """
        import trio, ipcpipes
        async def main():
            where = ipcpipes.Endpoint.inherited(sys.argv[1])
            async with await ipcpipes.connect(where, direction=sys.argv[2]) as stream:
                say("ready")
                if sys.argv[2] == "send":
                    while line := await trio.to_thread.run_sync(hear):
                        await stream.send_all(line.encode())
                else:
                    async for data in stream:
                        say(data.decode())
        trio.run(main)
        """,
    "blocking": """
        from ipcpipes import Endpoint, blocking
        where = Endpoint.inherited(sys.argv[1])
        with blocking.connect(where, direction=sys.argv[2]) as stream:
            say("ready")
            if sys.argv[2] == "send":
                while line := hear():
                    stream.send_all(line.encode())
            else:
                for data in stream:
                    say(data.decode())
        """,
    "ignorant": """
        say("ready")
        if sys.argv[2] == "send":
            fd = descriptor(sys.argv[1], os.O_WRONLY)
            while line := hear():
                os.write(fd, line.encode())
        else:
            fd = descriptor(sys.argv[1], os.O_RDONLY)
            while data := os.read(fd, 1000):
                say(data.decode())
        os.close(fd)
        """,
}


def options_for(*numbers: int) -> dict[str, Any]:
    """Returns the options of subprocess.Popen for a child to inherit only these numbers."""
    if sys.platform == "win32":
        startup = subprocess.STARTUPINFO()
        startup.lpAttributeList = {"handle_list": list(numbers)}
        return {"startupinfo": startup, "close_fds": True}
    return {"pass_fds": numbers}


@contextmanager
def inheriting_child(program: str, number: str, *arguments: str) -> Iterator[Child]:
    """Runs ``program`` in another interpreter, which inherits ``number``: its ``sys.argv[1]``.

    The program can use ``say(...)``, ``hear()`` and ``descriptor(text, flags)``.
    """
    source = _PRELUDE + textwrap.dedent(program)
    with running(source, number, *arguments, **options_for(int(number))) as child:
        yield child
