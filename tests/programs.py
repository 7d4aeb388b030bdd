"""The text of programs that the tests start as children."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

TRIO = """
import os, sys, trio, ipcpipes
def say(*words):
    print(*words, flush=True)
"""
BLOCKING = """
import os, sys, time, ipcpipes
from ipcpipes import blocking
def say(*words):
    print(*words, flush=True)
"""
PLAIN = """
import os, signal, subprocess, sys, time
def say(*words):
    print(*words, flush=True)
"""


def trio_program(body: str, *arguments: str) -> Sequence[str]:
    """Returns the command that runs ``body`` as the body of ``async def main()``."""
    main = "async def main():\n" + textwrap.indent(textwrap.dedent(body), "    ")
    return [sys.executable, "-c", f"{TRIO}{main}\ntrio.run(main)\n", *arguments]


def blocking_program(body: str, *arguments: str) -> Sequence[str]:
    """Returns the command that runs ``body`` without an event loop."""
    return [sys.executable, "-c", BLOCKING + textwrap.dedent(body), *arguments]


def plain_program(body: str, *arguments: str) -> Sequence[str]:
    """Returns the command that runs ``body`` without ipcpipes, so that it starts quickly."""
    return [sys.executable, "-c", PLAIN + textwrap.dedent(body), *arguments]


ECHO = trio_program("""
async with ipcpipes.parent_stream() as stream:
    async for data in stream:
        await stream.send_all(data)
""")
BLOCKING_ECHO = blocking_program("""
with blocking.parent_stream() as stream:
    for data in stream:
        stream.send_all(data)
""")
MESSAGE_ECHO = trio_program("""
async with ipcpipes.parent_channel() as channel:
    async for message in channel:
        await channel.send(message)
""")
BLOCKING_MESSAGE_ECHO = blocking_program("""
with blocking.parent_channel() as channel:
    for message in channel:
        channel.send(message)
""")
PIPES = trio_program("""
async with ipcpipes.parent_pipes() as pipes:
    async for data in pipes["jobs"]:
        await pipes["log"].send_all(data.upper())
        await pipes["talk"].send_all(await pipes["talk"].receive_some())
""")
BLOCKING_PIPES = blocking_program("""
with blocking.parent_pipes() as pipes:
    for data in pipes["jobs"]:
        pipes["log"].send_all(data.upper())
        pipes["talk"].send_all(pipes["talk"].receive_some())
""")
# Prints "here", and then sleeps for a minute, whatever happens to its pipes.
HANG = plain_program("""
say("here")
time.sleep(60)
""")
