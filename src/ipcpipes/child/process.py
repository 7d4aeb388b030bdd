"""Starting a child, and ending it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import trio

from .. import _os, abc
from .._os import Stream
from ..connections.nursery import unseen_nursery
from ..framing import Framing, Native
from ..messages.framed import MessageChannel, NativeMessageChannel
from ..options import check_count, checked_seconds
from .base import ChildBase, PipeKind, check_options, warn_of_unknown_ends
from .lines import LEAST_LONGEST, LONGEST_LINE, Capture, LineSink
from .pipes import ChildPipes, naming

if TYPE_CHECKING:
    from .pipes import Command, Redirection

__all__ = ["Child", "open_child"]


class Child(ChildBase):
    """A process that was started by :func:`open_child`, and our ends of what it has.

    Attributes:
        process: the process itself, as trio has it.
    """

    def __init__(
        self, process: trio.Process, ends: dict[str, Any], lifeline: Any, captures: list[Capture]
    ) -> None:
        super().__init__(ends)
        self.process = process
        self._lifeline = lifeline
        self._captures = captures

    @property
    def pid(self) -> int:
        return self.process.pid

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

    def _poll(self) -> int | None:
        return self.process.returncode

    def terminate(self) -> None:
        if self.process.returncode is None:
            self._asked = "terminated"
            self.process.terminate()

    def kill(self) -> None:
        if self.process.returncode is None:
            self._asked = "killed"
            self.process.kill()

    async def wait(self) -> int:
        """Waits until the process has ended; its :attr:`status`. Its pipes stay as they are."""
        await self.process.wait()
        assert self.status is not None
        return self.status

    async def _close_ends(self) -> None:
        with trio.CancelScope(shield=True):
            for end in self._all_ends():
                await end.aclose()
            await self._lifeline.aclose()
            if self.process.stdin is not None:
                await self.process.stdin.aclose()

    async def _finish(self, grace: float) -> None:
        """Sees the process to its end, whatever it does."""
        last_grace = grace
        try:
            await self._close_ends()
            with trio.move_on_after(grace):
                await self.process.wait()
            if self._asked is not None:
                last_grace = 0  # it was asked before, and has had its time
        finally:
            # Also when the waiting was cancelled; then there is no more patience.
            with trio.CancelScope(shield=True):
                try:
                    await self._end_by_force(last_grace)
                finally:
                    for capture in self._captures:
                        capture.child_ended()
                    await self._close_outputs()

    async def _end_by_force(self, grace: float) -> None:
        try:
            if self.process.returncode is None:
                self.terminate()
                with trio.move_on_after(grace):
                    await self.process.wait()
        finally:
            # Ctrl-C, too, ends the patience and not the care.
            if self.process.returncode is None:
                self.kill()
                await self.process.wait()

    async def _close_outputs(self) -> None:
        captured = [capture.stream for capture in self._captures]
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None and stream not in captured:
                await stream.aclose()


@asynccontextmanager
async def open_child(
    command: Command,
    *,
    framing: Framing | Native | None = None,
    max_descriptors: int = 0,
    pipes: Mapping[str, PipeKind | abc.AnonymousPipeEnd] | None = None,
    stdin: Redirection = None,
    stdout: Redirection | LineSink = None,
    stderr: Redirection | LineSink = None,
    longest_line: int = LONGEST_LINE,
    env: Mapping[str, str] | None = None,
    grace: float = 5.0,
    **options: Any,
) -> AsyncIterator[Child]:
    """Starts a process that is connected with this one, for the length of a block.

    >>> async with ipcpipes.open_child([sys.executable, "worker.py"]) as child:
    ...     await child.stream.send_all(b"to do")

    The child calls :func:`ipcpipes.parent_stream`. A program in another language reads the number
    of its descriptor or handle from its environment (``IPCPIPES_STREAM``, ``IPCPIPES_CHANNEL``,
    ``IPCPIPES_PIPE_LOG`` for a pipe called ``log``), or from its arguments, when ``command`` is
    a function that puts it there. It inherits these handles and no others, whatever else is
    open here, and no other process inherits them: this process keeps no copy of them, so that
    either end sees the other one go, however it goes. (Windows: for the moment of the start they
    are inheritable, and a process that other code starts just then with ``close_fds=False`` gets a
    copy.)

    When the block is left, the pipes are closed, which tells the child to end. One that has not
    ended after ``grace`` seconds is terminated, and after as many again killed. When the block is
    cancelled, it is terminated at once. Processes that the child has started are its own affair:
    they are neither waited for nor ended.

    Args:
        command: the words of the command; or a function that gives them, called with the numbers
            of the child's handles as text: ``lambda number: ["worker", "--fd", number["stream"]]``.
        framing: connects by messages (:attr:`Child.channel`) instead of bytes
            (:attr:`Child.stream`); the child's ``parent_channel()`` uses the same framing. There
            is no ``authkey=``: this connection has no name, and only the child inherits it.
        max_descriptors: how many descriptors may come with one message of that channel, 0 to 253,
            as for :func:`ipcpipes.connect_messages`. The child's ``parent_channel()`` has the same
            limit by default.
        pipes: connects by these pipes (:attr:`Child.pipes`) instead: what this end does with each,
            ``"duplex"``, ``"send"`` or ``"receive"``; or the end of a pipe of
            :func:`open_anonymous_pipe`, which is handed over to the child. Names have 1 to 32
            letters, digits and ``_``, and begin with a letter.
        stdin: as for :class:`subprocess.Popen`; with PIPE, ``child.process.stdin`` is a trio
            stream, which is closed with the others.
        stdout, stderr: the same (with PIPE, you have to read ``child.process.stdout`` yourself, or
            the child waits); or a function, which is called with each line as it comes, such as
            ``logging.getLogger("worker").info``. A carriage return ends a line too. What is
            not UTF-8 is replaced. What the function raises ends the block.
            ``stderr=subprocess.STDOUT`` goes where ``stdout`` goes.
        longest_line: how many bytes a line may have, 4 to 2**31 - 1. It limits the memory that a
            child which never ends a line can use. A longer line comes in pieces, each of them a
            :class:`LinePiece`; a whole line is a plain ``str``.
        env: the child's environment without what ipcpipes adds; this process' when ``None``.
        grace: seconds, 0 or more; ``math.inf`` waits for ever.
        options: any other of :class:`subprocess.Popen`: ``cwd``, ``start_new_session``,
            ``creationflags`` and so on; those that decide on inheritance and encoding are refused.

    Returns:
        For ``async with``: the :class:`Child`. It does not raise when the child fails; see
        :attr:`Child.status` and :attr:`Child.reason`.

    Raises:
        OSError: the program cannot be started (``FileNotFoundError``: there is none); nothing is
            left behind, and ends that were given are closed.
        TypeError, ValueError: an argument is of the wrong type or out of range.
        ipcpipes.NotSupported: ``framing=NATIVE`` on macOS.
    """
    async with run_child(
        lambda: ChildPipes(framing, pipes, max_descriptors=max_descriptors),
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        longest_line=longest_line,
        env=env,
        grace=grace,
        **options,
    ) as child:
        yield child


def check_child_options(
    function: str, /, *, longest_line: int = LONGEST_LINE, **options: object
) -> None:
    """Checks what can be checked of the options before there is a child.

    Raises:
        TypeError, ValueError: ``function`` does not take one, or not its value.
    """
    check_count("longest_line", longest_line, least=LEAST_LONGEST, optional=False)
    check_options(function, options)


# A KeyboardInterrupt comes where it waits, and not between the start of the process and the block
# that sees to its end.
@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def run_child(
    open_ends: Callable[[], ChildPipes],
    command: Command,
    *,
    stdin: Redirection = None,
    stdout: Redirection | LineSink = None,
    stderr: Redirection | LineSink = None,
    longest_line: int = LONGEST_LINE,
    env: Mapping[str, str] | None = None,
    grace: float = 5.0,
    **options: Any,
) -> AsyncIterator[Child]:
    """What every way to start a child comes down to; see :func:`open_child`."""
    grace = checked_seconds("grace", grace)
    check_child_options("open_child", longest_line=longest_line, **options)
    warn_of_unknown_ends()
    sinks = {
        name: sink for name, sink in (("stdout", stdout), ("stderr", stderr)) if callable(sink)
    }
    streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    streams.update(dict.fromkeys(sinks, subprocess.PIPE))
    with open_ends() as ends:
        words = ends.command(command)
        given = {**streams, "env": ends.environment(env), **options}
        with ends.inheriting(given) as complete, naming(words):
            process = await trio.lowlevel.open_process(words, **complete)
        try:
            ends.started()
            found = ends.taken(_os.parent_end, process.pid, MessageChannel, NativeMessageChannel)
            lifeline = ends.take("lifeline", _os.parent_end, process.pid)
            captures = [
                Capture(getattr(process, name), sink, longest_line) for name, sink in sinks.items()
            ]
            child = Child(process, found, lifeline, captures)
        except BaseException:  # a framing of the user's own, perhaps
            await _kill_and_reap(process)
            raise
    async with _reading(captures) if captures else nullcontext():
        try:
            yield child
        finally:
            await child._finish(grace)


async def _kill_and_reap(process: trio.Process) -> None:
    process.kill()
    with trio.CancelScope(shield=True):
        await process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()


@asynccontextmanager
async def _reading(captures: list[Capture]) -> AsyncIterator[None]:
    async with unseen_nursery() as nursery:
        for capture in captures:
            nursery.start_soon(capture.run)
        yield
