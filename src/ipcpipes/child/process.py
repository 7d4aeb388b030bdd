"""Starts a child process and ends it, under trio."""

from __future__ import annotations

import math
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import trio

from .. import _os, abc
from .._os import Stream
from ..connections.nursery import unseen_nursery
from ..framing import Framing, Native
from ..messages.framed import channel_over
from ..options import check_count, checked_seconds
from .base import ChildBase, PipeKind, check_options, warn_of_unknown_ends
from .lines import LEAST_LONGEST, LONGEST_LINE, Capture, LineSink
from .opening import open_process
from .pipes import ChildPipes

if TYPE_CHECKING:
    from .pipes import Command, Redirection

__all__ = ["Child", "open_child"]


class Child(ChildBase):
    """A process that :func:`open_child` has started, and this process' ends of its pipes.

    Attributes:
        process: the :class:`trio.Process`.
    """

    process: trio.Process

    @property
    def stream(self) -> Stream:
        """The byte stream to the child.

        Raises:
            AttributeError: the child was opened with ``framing`` or ``pipes``.
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

    async def wait(self) -> int:
        """Waits for the end of the process, and returns its :attr:`status`. The pipes stay open."""
        await self.process.wait()
        assert self.status is not None
        return self.status

    def _is_ready(self) -> bool:
        """Returns whether the process has ended."""
        return self.status is not None

    async def _wait_ready(self) -> None:
        await self.process.wait()

    async def _close_ends(self) -> trio.BrokenResourceError | None:
        """Closes everything that leads to the child. Returns the error if messages were lost."""
        is_cancelled = trio.current_effective_deadline() == -math.inf
        ends = [*self._all_ends()]
        if self.process.stdin is not None:
            ends.append(self.process.stdin)
        loss = None
        for end in ends:
            with trio.CancelScope(shield=True) as scope:
                if is_cancelled:
                    scope.cancel()  # it closes all the same, but does not wait for a child to read
                try:
                    await end.aclose()
                except trio.BrokenResourceError as error:
                    loss = error
        self._lifeline.close()
        return loss

    async def _finish(self, grace: float) -> trio.BrokenResourceError | None:
        """Closes the pipes, and waits until the process has ended. After ``grace`` seconds, ends it
        by force. Returns the error if messages to the child were lost.
        """
        last_grace = grace
        loss = None
        try:
            loss = await self._close_ends()
            with trio.move_on_after(grace):
                await self.process.wait()
            if self._asked is not None:
                last_grace = 0  # it was told to end earlier, and ``grace`` has passed
        finally:
            # This is also done when the wait was cancelled; then the process is terminated at once.
            with trio.CancelScope(shield=True):
                try:
                    self.terminate()
                    with trio.move_on_after(last_grace):
                        await self.process.wait()
                finally:
                    # Ctrl-C shortens the wait, but the process is still killed and reaped.
                    self.kill()
                    await self.process.wait()
        return loss


def open_child(
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
) -> AbstractAsyncContextManager[Child]:
    """Starts a child process that is connected with this process until the end of the block.

    >>> async with ipcpipes.open_child([sys.executable, "worker.py"]) as child:
    ...     await child.stream.send_all(b"to do")

    The child calls :func:`ipcpipes.parent_stream`. A program in another language reads the number
    of its descriptor or handle from its environment (``IPCPIPES_STREAM``, ``IPCPIPES_CHANNEL``,
    ``IPCPIPES_PIPE_LOG`` for a pipe called ``log``). If ``command`` is a function, it can also put
    the number into the arguments. The child inherits these handles and no others, and no other
    process inherits them. This process keeps no copy of the child's ends, so each end notices
    when the other process ends, in whatever way it ends. (Windows: while the child is being
    started, its handles are inheritable. A process that other code starts at that moment with
    ``close_fds=False`` gets a copy.)

    At the end of the block the pipes are closed, which tells the child to end. If the child has
    not ended after ``grace`` seconds, it is terminated; after ``grace`` more seconds, it is killed.
    If the block is cancelled, the child is terminated at once. Processes that the child has started
    are not waited for and not ended.

    Args:
        command: the program and its arguments; or a function that returns them. The function is
            called with the numbers of the child's handles as text:
            ``lambda number: ["worker", "--fd", number["stream"]]``.
        framing: connects by messages (:attr:`Child.channel`) instead of bytes
            (:attr:`Child.stream`); the child's ``parent_channel()`` uses the same framing. There
            is no ``authkey=``: this connection has no name, and only the child inherits it.
        max_descriptors: how many descriptors may come with one message of that channel, 0 to 253,
            as for :func:`ipcpipes.connect_messages`. The child's ``parent_channel()`` has the same
            limit by default.
        pipes: connects by these pipes (:attr:`Child.pipes`) instead. Each name has the direction of
            this process' end, ``"duplex"``, ``"send"`` or ``"receive"``; or the end of a pipe of
            :func:`open_anonymous_pipe`, which is handed over to the child. Names have 1 to 32
            letters, digits and ``_``, and begin with a letter.
        stdin: as for :class:`subprocess.Popen`; with PIPE, ``child.process.stdin`` is a trio
            stream, which is closed with the pipes.
        stdout, stderr: as for :class:`subprocess.Popen` (with PIPE, read ``child.process.stdout``
            yourself; otherwise the child waits when the pipe is full); or a function, such as
            ``logging.getLogger("worker").info``, which is called with each line as it arrives. A
            carriage return ends a line too. Bytes that are not UTF-8 are replaced by U+FFFD. An
            exception of the function ends the block. ``stderr=subprocess.STDOUT`` sends the
            child's standard error to the same place as ``stdout``.
        longest_line: how many bytes a line may have, 4 to 2**31 - 1. This limits the memory of this
            process if the child never ends a line. A longer line arrives in pieces, each of them a
            :class:`LinePiece`; a whole line is a plain ``str``.
        env: the child's environment, to which ipcpipes adds its variables; ``None`` for the
            environment of this process.
        grace: seconds, 0 or more; ``math.inf`` waits without limit.
        options: other options of :class:`subprocess.Popen`: ``cwd``, ``start_new_session``,
            ``creationflags`` and so on. Options for inheritance and encoding are refused.

    Returns:
        For ``async with``: the :class:`Child`. The block does not raise when the child fails; see
        :attr:`Child.status` and :attr:`Child.reason`.

    Raises:
        OSError: the program cannot be started (``FileNotFoundError``: it does not exist). Nothing
            is left behind, and ends that you handed over are closed.
        TypeError, ValueError: an argument is of the wrong type or out of range.
        ipcpipes.NotSupported: ``framing=NATIVE`` on macOS.
    """
    return run_child(
        lambda: ChildPipes(framing, pipes, max_descriptors=max_descriptors),
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        longest_line=longest_line,
        env=env,
        grace=grace,
        **options,
    )


def check_child_options(
    function: str, /, *, longest_line: int = LONGEST_LINE, **options: object
) -> None:
    """Checks the options that can be checked before the child is started.

    Raises:
        TypeError, ValueError: ``function`` does not take one of the options, or does not accept its
            value.
    """
    check_count("longest_line", longest_line, least=LEAST_LONGEST, optional=False)
    check_options(function, options)


# This is protected, so that a KeyboardInterrupt is raised only where this waits, and not between
# the start of the process and the block that ends it.
@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def run_child(
    open_ends: Callable[[], ChildPipes],
    command: Command,
    *,
    longest_line: int = LONGEST_LINE,
    env: Mapping[str, str] | None = None,
    grace: float = 5.0,
    **options: Any,
) -> AsyncIterator[Child]:
    """Starts a child; :func:`open_child` and :class:`WorkerGroup` share this."""
    grace = checked_seconds("grace", grace)
    check_child_options("open_child", longest_line=longest_line, **options)
    may_be_forgotten = warn_of_unknown_ends()
    sinks = {name: options[name] for name in ("stdout", "stderr") if callable(options.get(name))}
    options.update(dict.fromkeys(sinks, subprocess.PIPE))
    with open_ends() as ends:
        words, inheriting = ends.starting(command, env, options)
        with inheriting as complete:
            process = await open_process(words, complete)
        try:
            ends.started()
            mine = ends.taken(_os.parent_end, process.pid, channel_over)
            child = Child(process, *mine, may_be_forgotten)
        except BaseException:  # raised by a user's framing, for example
            process.kill()
            await _reap(process)
            raise
    captures = [Capture(getattr(process, name), sink, longest_line) for name, sink in sinks.items()]
    try:
        async with _running(captures):
            loss = None
            try:
                yield child
            finally:
                try:
                    loss = await child._finish(grace)
                finally:
                    for capture in captures:
                        capture.reads.child_ended()
            if loss is not None:  # and the block has raised nothing
                raise loss
    finally:
        await _reap(process)


def _running(captures: Sequence[Capture]) -> AbstractAsyncContextManager[object]:
    """Returns a context in which tasks read the child's output."""
    return _captured(captures) if captures else nullcontext()


@asynccontextmanager
async def _captured(captures: Sequence[Capture]) -> AsyncIterator[None]:
    async with unseen_nursery() as nursery:
        for capture in captures:
            nursery.start_soon(capture.run)
        yield


async def _reap(process: trio.Process) -> None:
    """Waits for the end of the process, and closes its pipes."""
    with trio.CancelScope(shield=True):
        await process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                await stream.aclose()
