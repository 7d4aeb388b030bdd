"""The two processes of one contender.

They live as long as their case, so that a round does not include the start of Python. Each prints
``ready``. Then, for each number of operations that it reads, it prints the seconds that they took
(or what else its scenario measures) and the number of completed operations.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from .cases import MIB, Case, Contender, Role
from .contenders import Command

if sys.platform == "linux":
    import fcntl

ROOT = Path(__file__).resolve().parent.parent
# Otherwise glibc returns every freed block of 128 KiB or more to the system, and gets it again with
# a system call and a page fault for each 4 KiB, until the process has freed a larger one. These are
# the largest values that glibc itself would reach (mallopt(3), M_MMAP_THRESHOLD).
OLD_HEAP = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * MIB),
    "MALLOC_TRIM_THRESHOLD_": str(64 * MIB),
}
EXIT_TIMEOUT = 10  # seconds


class Pair:
    """A server and a client, or only a client. The client keeps the time, unless its case says
    otherwise.

    Lifetime: the processes live from the beginning to the end of the ``with`` block.
    """

    def __init__(
        self, case: Case, contender: Contender, command: Command, scratch: Path, name: str
    ) -> None:
        self._case = case
        self._contender = contender
        self._command = command
        self._scratch = scratch
        self._name = name
        self._ends: dict[Role, subprocess.Popen[str]] = {}

    def __enter__(self) -> Pair:
        try:
            with self._pipe() as numbers:
                for role in self._case.roles:
                    end = self._ends[role] = self._start(role, numbers)
                    if (line := self._read(end)) != "ready\n":
                        raise RuntimeError(f"expected a {role} that is ready, not {line!r}")
        except BaseException:
            self._kill()
            raise
        return self

    @contextmanager
    def _pipe(self) -> Iterator[Mapping[Role, int]]:
        """Yields the end of the pipe that each role inherits; none if the case has no pipe."""
        if self._case.capacity is None:
            yield {}
            return
        receiving, sending = os.pipe()
        try:
            if sys.platform == "linux":  # other systems have one capacity for all pipes
                fcntl.fcntl(sending, fcntl.F_SETPIPE_SZ, self._case.capacity)
            yield {"server": receiving, "client": sending}
        finally:
            os.close(receiving)
            os.close(sending)

    def _start(self, role: Role, numbers: Mapping[Role, int]) -> subprocess.Popen[str]:
        name = str(numbers.get(role, self._case.child or self._name))
        counts = map(str, (self._case.size, self._contender.number))
        end = subprocess.Popen(
            [*self._command, self._case.scenario, role, name, *counts],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
            pass_fds=[numbers[role]] if numbers else [],
            # Each contender puts its socket there, ipcpipes by a plain name, so that nothing is
            # left when the directory is removed.
            env={
                **os.environ,
                "XDG_RUNTIME_DIR": str(self._scratch),
                **(OLD_HEAP if self._case.heap == "old" else {}),
            },
        )
        if self._case.placement != "free" and sys.platform == "linux":
            cpus = sorted(os.sched_getaffinity(0))
            alone = self._case.placement == "apart" and role == "server"
            os.sched_setaffinity(end.pid, {cpus[0 if alone else -1]})
        return end

    def play(self, count: int) -> float:
        """Plays a round of ``count`` operations; returns its seconds, or what else is measured."""
        for end in self._ends.values():
            assert end.stdin is not None
            end.stdin.write(f"{count}\n")
        measured = {}
        for role, end in self._ends.items():
            taken, completed = self._read(end).split()
            if int(completed) != count:
                raise RuntimeError(f"{self._command}: {completed} operations of {count}")
            measured[role] = float(taken)
        return measured[self._case.meter]

    def _read(self, end: subprocess.Popen[str]) -> str:
        assert end.stdout is not None
        line = end.stdout.readline()
        if not line:
            raise RuntimeError(f"an end has died; its command was {end.args!r}")
        return line

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            for end in self._ends.values():
                assert end.stdin is not None
                end.stdin.close()
            if error is None:
                for end in self._ends.values():
                    if end.wait(EXIT_TIMEOUT) != 0:
                        raise RuntimeError(f"{end.args!r} ended with {end.returncode}")
        finally:
            self._kill()

    def _kill(self) -> None:
        for end in self._ends.values():
            end.kill()
            end.wait()
            for pipe in (end.stdin, end.stdout):
                assert pipe is not None
                pipe.close()
