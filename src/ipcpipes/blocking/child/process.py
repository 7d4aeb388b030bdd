"""Starts and ends a child process, without an event loop."""

from __future__ import annotations

import math
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..._os import blocking as _os
from ..._os.blocking import Stream
from ..._os.common.opened import OpenNumbers
from ...child.base import ChildBase, PipeKind, check_options, warn_of_unknown_ends
from ...child.pipes import ChildPipes
from ...framing import Framing, Native
from ...options import checked_seconds
from .. import abc
from ..messages.framed import channel_over

if TYPE_CHECKING:
    from ...child.pipes import Command, Redirection

__all__ = ["Child", "open_child"]


class Child(ChildBase):
    """A process that was started by :func:`open_child`, and our ends of its connections.

    Attributes:
        process: the :class:`subprocess.Popen` object of the process.
    """

    process: subprocess.Popen[bytes]

    @property
    def stream(self) -> Stream:
        """The byte stream to the child.

        Raises:
            AttributeError: the child has a channel or pipes instead.
        """
        stream: Stream = self._end("stream")
        return stream

    @property
    def channel(self) -> abc.MessageChannel:
        """The message channel to the child.

        Raises:
            AttributeError: the child was opened without ``framing``.
        """
        channel: abc.MessageChannel = self._end("channel")
        return channel

    def wait(self, *, timeout: float | None = None) -> int:
        """Waits until the process has ended, and returns its :attr:`status`. Its pipes stay open.

        Args:
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Raises:
            TimeoutError: the process has not ended in time.
            TypeError, ValueError: ``timeout`` is not a number of seconds, or negative.
        """
        seconds = math.inf if timeout is None else checked_seconds("timeout", timeout)
        if not _os.ends_within(self.process, seconds):
            raise TimeoutError(f"process {self.pid} has not ended within {seconds:g} s")
        assert self.status is not None
        return self.status

    def _take_turn(self, taken: list[Callable[[], object]]) -> None:
        """Does nothing: any number of threads may wait for a child."""

    def _after_turn(self) -> None: ...

    def _is_ready(self) -> bool:
        """Returns whether the process has ended."""
        return self.status is not None

    def _watched(self, opened: OpenNumbers) -> Any:
        return _os.watched_process(self.process, opened)

    def _wake_within(self) -> float | None:
        return None

    def _close_ends(self) -> None:
        for end in self._all_ends():
            end.close()
        self._lifeline.close()
        if self.process.stdin is not None:
            _os.close_input(self.process.stdin)

    def _finish(self, grace: float) -> None:
        """Closes the pipes, and returns only when the process has ended."""
        last_grace = grace
        try:
            self._close_ends()
            _os.ends_within(self.process, grace)
            if self._asked is not None:
                last_grace = 0  # it was already asked to end, and has had its time
        finally:
            # After Ctrl-C the process is terminated at once.
            try:
                self.terminate()
                _os.ends_within(self.process, last_grace)
            finally:
                self.kill()
                self.process.wait()
                for file in (self.process.stdout, self.process.stderr):
                    if file is not None:
                        file.close()


@contextmanager
def _deferred_ctrl_c() -> Iterator[None]:
    """Defers Ctrl-C until the process is known to the code that ends it."""
    before = signal.getsignal(signal.SIGINT)
    # Python's handlers run in the main thread only. A handler that is not a Python function (such
    # as SIG_IGN) stays, because the child has to inherit it.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    received: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if received:
            signal.raise_signal(signal.SIGINT)


def _started(
    words: Sequence[Any], options: Mapping[str, Any], kept: list[subprocess.Popen[bytes]]
) -> subprocess.Popen[bytes]:
    """Starts a process, and puts it into ``kept``, also if a signal handler raises meanwhile."""
    if _os.is_quick(options):
        return _os.start(words, options, kept)
    with _deferred_ctrl_c():
        return _os.start(words, options, kept)


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
    """Starts a child process that is connected with this process until the end of the block.

    >>> with blocking.open_child([sys.executable, "worker.py"]) as child:
    ...     child.stream.send_all(b"to do")

    The child calls ``parent_stream()``, with or without an event loop. A program in another
    language reads the number of its descriptor or handle from its environment
    (``IPCPIPES_STREAM``, ``IPCPIPES_CHANNEL``, ``IPCPIPES_PIPE_LOG`` for a pipe called ``log``), or
    from its arguments, if ``command`` is a function that puts it there. The child inherits these
    handles and no others, and no other process inherits them; see :func:`ipcpipes.open_child`.

    When the block is left, the pipes are closed, which tells the child to end. A child that has not
    ended after ``grace`` seconds is terminated, and after ``grace`` more seconds killed. Ctrl-C
    while the block is left terminates the child at once. Processes that the child has started are
    neither waited for nor ended.

    Args:
        command: the words of the command; or a function that returns them, called with the numbers
            of the child's handles as text: ``lambda number: ["worker", "--fd", number["stream"]]``.
        framing: connects by messages (:attr:`Child.channel`) instead of bytes
            (:attr:`Child.stream`); the child's ``parent_channel()`` uses the same framing.
        max_descriptors: how many descriptors may come with one message of that channel, 0 to 253.
            The child's ``parent_channel()`` has the same limit by default.
        pipes: connects by these pipes (:attr:`Child.pipes`) instead. Each name has the direction of
            this process' end (``"duplex"``, ``"send"`` or ``"receive"``), or the end of a pipe of
            :func:`open_anonymous_pipe`, which is handed over to the child. Names have 1 to 32
            letters, digits and ``_``, and begin with a letter.
        stdin, stdout, stderr: as for :class:`subprocess.Popen`. Files that PIPE makes are in
            ``child.process``, and are closed with the block. Unlike in :func:`ipcpipes.open_child`,
            a function that gets the lines is not accepted, because that would take a thread that
            you did not start.
        env: the child's environment, to which ipcpipes adds its variables; ``None`` for the
            environment of this process.
        grace: seconds, 0 or more; ``math.inf`` waits for ever.
        options: any other option of :class:`subprocess.Popen`: ``cwd``, ``start_new_session``,
            ``creationflags`` and so on; those that decide on inheritance and encoding are refused.

    Returns:
        For ``with``: the :class:`Child`. The block does not raise when the child fails; see
        :attr:`Child.status` and :attr:`Child.reason`.

    Raises:
        OSError: the program cannot be started (``FileNotFoundError``: it does not exist); nothing
            is left behind, and given ends are closed.
        TypeError, ValueError: an argument is of the wrong type or out of range.
        And everything else that :func:`ipcpipes.open_child` raises.
    """
    grace = checked_seconds("grace", grace)
    check_options("open_child", options)
    for name, redirection in (("stdout", stdout), ("stderr", stderr)):
        if callable(redirection):
            raise TypeError(
                f"{name} cannot be a function without an event loop; pass subprocess.PIPE, and "
                f"read child.process.{name} in a thread"
            )
    may_be_forgotten = warn_of_unknown_ends()
    started: list[subprocess.Popen[bytes]] = []
    child = None
    try:
        with ChildPipes(framing, pipes, max_descriptors=max_descriptors) as ends:
            options.update(stdin=stdin, stdout=stdout, stderr=stderr)
            words, inheriting = ends.starting(command, env, options)
            with inheriting as complete:
                process = _started(words, complete, started)
            ends.started()
            mine = ends.taken(_os.parent_end, process.pid, channel_over)
            child = Child(process, *mine, may_be_forgotten)
        yield child
    finally:
        if child is not None:
            child._finish(grace)
        elif started:
            _os.give_up(started[0])
