"""Starting a child, and ending it, without an event loop."""

from __future__ import annotations

import math
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..._os import blocking as _os
from ..._os.blocking import Stream
from ...child.base import ChildBase, PipeKind, check_options, warn_of_unknown_ends
from ...child.pipes import ChildPipes, naming
from ...framing import Framing, Native
from ...options import checked_seconds
from .. import abc
from ..messages.framed import MessageChannel, NativeMessageChannel

if TYPE_CHECKING:
    from ...child.pipes import Command, Redirection

__all__ = ["Child", "open_child"]


class Child(ChildBase):
    """A process that was started by :func:`open_child`, and our ends of what it has.

    Attributes:
        process: the process itself, as :mod:`subprocess` has it.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], ends: dict[str, Any], lifeline: Any
    ) -> None:
        super().__init__(ends)
        self.process = process
        self._lifeline = lifeline

    @property
    def stream(self) -> Stream:
        """The byte stream to the child.

        Raises:
            AttributeError: it was given a channel, or pipes.
        """
        stream: Stream = self._end("stream")
        return stream

    @property
    def channel(self) -> abc.MessageChannel:
        """The message channel to the child.

        Raises:
            AttributeError: it was opened without ``framing``.
        """
        channel: abc.MessageChannel = self._end("channel")
        return channel

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def _poll(self) -> int | None:
        return self.process.poll()

    def terminate(self) -> None:
        if self.process.poll() is None:
            self._asked = "terminated"
            self.process.terminate()

    def kill(self) -> None:
        if self.process.poll() is None:
            self._asked = "killed"
            self.process.kill()

    def wait(self, *, timeout: float | None = None) -> int:
        """Waits until the process has ended; its :attr:`status`. Its pipes stay as they are.

        Args:
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Raises:
            TimeoutError: it has not ended in time.
            TypeError, ValueError: ``timeout`` is no number of seconds, or negative.
        """
        seconds = math.inf if timeout is None else checked_seconds("timeout", timeout)
        if not self._ends_within(seconds):
            raise TimeoutError(f"process {self.pid} has not ended within {seconds:g} s")
        assert self.status is not None
        return self.status

    def _ends_within(self, seconds: float) -> bool:
        return _os.ends_within(self.process, seconds)

    def _close_ends(self) -> None:
        for end in self._all_ends():
            end.close()
        self._lifeline.close()
        if self.process.stdin is not None:
            _os.close_input(self.process.stdin)

    def _finish(self, grace: float) -> None:
        """Sees the process to its end, whatever it does."""
        last_grace = grace
        try:
            self._close_ends()
            self._ends_within(grace)
            if self._asked is not None:
                last_grace = 0  # it was asked before, and has had its time
        finally:
            # Also when Ctrl-C came; then there is no more patience.
            try:
                if self.process.poll() is None:
                    self.terminate()
                    self._ends_within(last_grace)
            finally:
                if self.process.poll() is None:
                    self.kill()
                    self.process.wait()
                for file in (self.process.stdout, self.process.stderr):
                    if file is not None:
                        file.close()


@contextmanager
def _ctrl_c_comes_later() -> Iterator[None]:
    """Puts off what Ctrl-C does until the process is known to whoever ends it."""
    before = signal.getsignal(signal.SIGINT)
    # Python's handlers run in the main thread; and what is no function of Python's, the child
    # has to inherit.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def open_child(
    command: Command,
    *,
    framing: Framing | Native | None = None,
    max_descriptors: int = 0,
    pipes: Mapping[str, PipeKind | abc.AnonymousPipeEnd] | None = None,
    stdin: Redirection = None,
    stdout: Redirection = None,
    stderr: Redirection = None,
    env: Mapping[str, str] | None = None,
    grace: float = 5.0,
    **options: Any,
) -> Iterator[Child]:
    """Starts a process that is connected with this one, for the length of a block.

    >>> with blocking.open_child([sys.executable, "worker.py"]) as child:
    ...     child.stream.send_all(b"to do")

    All is as :func:`ipcpipes.open_child` says; the child may be of either kind. Ctrl-C while the
    block is left terminates the child at once.

    Args:
        command, framing, max_descriptors, pipes, env, grace, options: as for
            :func:`ipcpipes.open_child`.
        stdin, stdout, stderr: as for :class:`subprocess.Popen`; what PIPE makes is in
            ``child.process`` and closed with the block. Lines are not handed to a function
            here, because that would take a thread behind your back.

    Returns:
        For ``with``: the :class:`Child`.

    Raises:
        Everything that :func:`ipcpipes.open_child` raises.
    """
    grace = checked_seconds("grace", grace)
    check_options("open_child", options)
    warn_of_unknown_ends()
    process = child = None
    try:
        with (
            ChildPipes(framing, pipes, max_descriptors=max_descriptors) as ends,
            _ctrl_c_comes_later(),
        ):
            words = ends.command(command)
            streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
            given = {**streams, "env": ends.environment(env), **options}
            with ends.inheriting(given) as complete, naming(words):
                process = subprocess.Popen(words, **complete)
            ends.started()
            found = ends.taken(_os.parent_end, process.pid, MessageChannel, NativeMessageChannel)
            lifeline = ends.take("lifeline", _os.parent_end, process.pid)
            child = Child(process, found, lifeline)
        yield child
    finally:
        if child is not None:
            child._finish(grace)
        elif process is not None:
            process.kill()
            process.wait()
