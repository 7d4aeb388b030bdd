"""Child processes for the tests: Python programs as text that read and write lines."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

SECONDS = 60  # longer than any step takes, so that only a hang reaches it

_PRELUDE = """
import sys, trio, ipcpipes
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
async def hear_async():
    return await trio.to_thread.run_sync(hear)
"""


class Child:
    """A child process that writes and reads lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with {self.process.wait(SECONDS)} instead of speaking"
        return line.strip()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Sends SIGKILL or calls TerminateProcess, which the child cannot catch."""
        self.process.kill()
        self.process.wait(SECONDS)

    def wait(self) -> int:
        return self.process.wait(SECONDS)


@contextmanager
def python_child(program: str, *arguments: str) -> Iterator[Child]:
    """Runs ``program`` (the body of ``async def main()``) in another interpreter.

    The program can use ``say(...)``, ``hear()``, ``await hear_async()`` and ``sys.argv[1:]``.
    """
    source = _PRELUDE + "async def main():\n" + textwrap.indent(textwrap.dedent(program), "    ")
    with running(source + "\ntrio.run(main)\n", *arguments) as child:
        yield child


@contextmanager
def running(
    source: str, *arguments: str, flags: Sequence[str] = (), **options: Any
) -> Iterator[Child]:
    """Runs ``source`` in another interpreter, and kills it at the end.

    Args:
        flags: for the interpreter.
        options: for :class:`subprocess.Popen`.
    """
    process = subprocess.Popen(
        [sys.executable, *flags, "-c", source, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        yield Child(process)
    finally:
        process.kill()
        process.wait(SECONDS)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def several_children(program: str, argument: str, count: int) -> Iterator[list[Child]]:
    """``count`` children of one program."""
    with ExitStack() as stack:
        yield [stack.enter_context(python_child(program, argument)) for _ in range(count)]
