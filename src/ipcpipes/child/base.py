"""A child's pipes, exit status and the reason of its end; the same for both drivers."""

from __future__ import annotations

import inspect
import subprocess
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

from .. import _os
from .._os.common.forking import remember
from ..abc.uncopied import Uncopied

PipeKind = Literal["duplex", "send", "receive"]
Reason = Literal["exited", "signalled", "terminated", "killed", "unknown"]

# asyncio reports the same status for a child whose exit status is unknown.
UNKNOWN = 255

_OURS = "ipcpipes sets it"
# Options for inheritance and encoding, and why they are refused.
_REFUSED = {
    "close_fds": _OURS,
    "pass_fds": _OURS,
    "shell": 'name it in the command: ["sh", "-c", ...]',
    "text": _OURS,
    "encoding": _OURS,
    "errors": _OURS,
    "universal_newlines": _OURS,
    "bufsize": _OURS,
}


def check_options(function: str, options: Mapping[str, object]) -> None:
    """Refuses options that subprocess.Popen does not have, and those that ipcpipes sets itself.

    Args:
        function: the name of the function that got the options, for the error text.

    Raises:
        TypeError: an option is refused; the text names it.
    """
    for name, reason in _REFUSED.items():
        if name in options:
            raise TypeError(f"{function} takes no {name}: {reason}")
    try:
        if not options.keys() <= _names():
            inspect.signature(subprocess.Popen).bind((), **options)
    except TypeError as error:
        raise TypeError(f"{function}() {error}") from None


@cache
def _names() -> frozenset[str]:
    """Returns the names of the options of subprocess.Popen, which depend on the version of Python.
    To find them out takes 0.1 ms.
    """
    return frozenset(inspect.signature(subprocess.Popen).parameters) - {"args"}


def warn_of_unknown_ends() -> bool:
    """Returns whether the system forgets the exit statuses of children, and then also warns. This
    is not an error: a program cannot change what it has inherited, and everything else works.
    """
    forgets = _os.forgets_children()
    if forgets:
        warnings.warn(
            "SIGCHLD is ignored in this process (the program that started it may have set that), "
            "so the system does not keep the exit statuses of children, and a child's reason may "
            "be 'unknown'; call signal.signal(signal.SIGCHLD, signal.SIG_DFL) first",
            RuntimeWarning,
            stacklevel=3,
        )
    return forgets


class ChildBase(Uncopied):
    """A child process, and this process' ends of its pipes."""

    _instead = "only the process that started the child can use it"

    def __init__(
        self, process: Any, ends: dict[str, Any], lifeline: _os.Opened, may_be_forgotten: bool
    ) -> None:
        self.process = process
        self._ends = ends
        self._lifeline = lifeline
        self._asked: Reason | None = None
        self._status: int | None = None
        self._may_be_forgotten = may_be_forgotten
        remember(self)

    def _in_forked_child(self, text: str) -> None:
        # The child is not a child of the forked process, so the system does not report its status.
        self._may_be_forgotten = True
        # Otherwise the child would not see the end of its parent while the forked process runs.
        self._lifeline.close()

    def _end(self, name: str) -> Any:
        if name not in self._ends:
            there = ", ".join(self._ends)
            raise AttributeError(f"this child was opened without {name}; it has {there}")
        return self._ends[name]

    def _all_ends(self) -> Iterable[Any]:
        ends: Mapping[str, Any] = self._ends.get("pipes", self._ends)
        return ends.values()

    @property
    def pipes(self) -> Mapping[str, Any]:
        """This process' ends of the pipes that were asked for, by name: each a ``Stream``,
        ``SendStream`` or ``ReceiveStream``. Pipes of :func:`open_anonymous_pipe` are not among
        them.

        Raises:
            AttributeError: the child was opened without ``pipes``.
        """
        pipes: Mapping[str, Any] = self._end("pipes")
        return pipes

    @property
    def pid(self) -> int:
        """The process id."""
        pid: int = self.process.pid
        return pid

    @property
    def status(self) -> int | None:
        """The exit status of the process, ``None`` while it runs. On POSIX it is ``-N`` if signal N
        has ended the process, and 255 if the system does not know the status (then :attr:`reason`
        is ``"unknown"``).
        """
        if self._status is None:
            status: int | None = self.process.poll()
            # If the system does not know the child (any more), subprocess reports exit
            # status 0.
            if status == 0 and (self._may_be_forgotten or _os.forgets_children()):
                self._may_be_forgotten = True
                status = UNKNOWN
            elif status is not None:
                self._may_be_forgotten = False
            self._status = status
        return self._status

    def terminate(self) -> None:
        """Sends SIGTERM to the process (Windows: TerminateProcess), and returns at once.

        Use it for a program that does not notice that its pipes are closed. At the end of the block
        ipcpipes waits ``grace`` seconds for the process, and then kills it. Without effect on a
        process that has ended.
        """
        if self.process.poll() is None:
            self._asked = "terminated"
            self.process.terminate()

    def kill(self) -> None:
        """Ends the process now: SIGKILL (Windows: TerminateProcess). Without effect on a process
        that has ended.
        """
        if self.process.poll() is None:
            self._asked = "killed"
            self.process.kill()

    @property
    def reason(self) -> Reason | None:
        """Why the process ended, ``None`` while it runs.

        - ``"exited"``: by itself.
        - ``"signalled"`` (POSIX): by a signal that ipcpipes did not send. On Windows this is
          ``"exited"``.
        - ``"terminated"``: by :meth:`terminate`. You called it, or the child had not ended
          ``grace`` seconds after its pipes were closed, or the block was cancelled.
        - ``"killed"``: by :meth:`kill`. You called it, or terminating did not end the child.
        - ``"unknown"`` (POSIX): the system does not keep the exit statuses of children (wait(2)),
          because this process ignores SIGCHLD, which it may have inherited from the program that
          started it; or this process was forked from the process that started the child.

        Code that waits for all children (``os.waitpid(-1, ...)``) takes the status away; then the
        child seems to have exited with status 0.
        """
        status = self.status
        if status is None:
            return None
        if self._asked is not None:
            return self._asked
        if self._may_be_forgotten:
            return "unknown"
        return "signalled" if status < 0 else "exited"

    def __repr__(self) -> str:
        reason = self.reason
        state = "running" if reason is None else f"{reason}, status {self.status}"
        return f"<ipcpipes Child process {self.pid}, {state}>"
