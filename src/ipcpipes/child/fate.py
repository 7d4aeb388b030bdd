"""What a child was given and what became of it, with an event loop or without."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Literal

PipeKind = Literal["duplex", "send", "receive"]
Reason = Literal["exited", "signalled", "terminated", "killed"]

# What decides on inheritance and encoding.
_REFUSED = (
    "close_fds",
    "pass_fds",
    "shell",
    "text",
    "encoding",
    "errors",
    "universal_newlines",
    "bufsize",
)

_OURS = "it decides that itself"
_REASONS = {"shell": 'name it in the command: ["sh", "-c", ...]'}


def check_options(options: Mapping[str, object]) -> None:
    """Refuses options of subprocess.Popen that do not go with a child of ours.

    Raises:
        TypeError: there is one.
    """
    for name in _REFUSED:
        if name in options:
            raise TypeError(f"open_child takes no {name}: {_REASONS.get(name, _OURS)}")


class Fate(ABC):
    """A child and its ends."""

    def __init__(self, ends: dict[str, Any]) -> None:
        self._ends = ends
        self._asked: Reason | None = None

    def _end(self, name: str) -> Any:
        if name not in self._ends:
            there = ", ".join(self._ends)
            raise AttributeError(f"this child was opened without {name}; it has {there}")
        return self._ends[name]

    def _all_ends(self) -> Iterator[Any]:
        for end in self._ends.values():
            if isinstance(end, Mapping):
                yield from end.values()
            else:
                yield end

    @property
    def pipes(self) -> Mapping[str, Any]:
        """Our ends of the pipes that were asked for, by name: each a ``Stream``, ``SendStream`` or
        ``ReceiveStream``. Those that you opened yourself are not among them.

        Raises:
            AttributeError: it was opened without ``pipes``.
        """
        pipes: Mapping[str, Any] = self._end("pipes")
        return pipes

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process id."""

    @property
    @abstractmethod
    def status(self) -> int | None:
        """Its exit status, ``None`` while it runs; on POSIX ``-N`` when signal N has ended it."""

    @abstractmethod
    def terminate(self) -> None:
        """Asks the process to end now, and returns at once: SIGTERM, on Windows TerminateProcess.

        For a program that does not notice when its pipes are closed. Leaving the block waits
        for it, ``grace`` seconds at most, and then kills it. No matter if it has ended already.
        """

    @abstractmethod
    def kill(self) -> None:
        """Ends the process now, whatever it does: SIGKILL, on Windows TerminateProcess. No matter
        if it has ended already.
        """

    @property
    def reason(self) -> Reason | None:
        """Why it ended, ``None`` while it runs.

        ``"exited"``: by itself. ``"signalled"``: by a signal that was not ours (POSIX; Windows
        does not tell it from the first). ``"terminated"``: :meth:`terminate` was called, by you,
        or because it had not ended ``grace`` seconds after its pipes were closed or the block was
        cancelled; perhaps it could still clean up. ``"killed"``: that did not help, or :meth:`kill`
        was called.
        """
        status = self.status
        if status is None:
            return None
        if self._asked is not None:
            return self._asked
        return "signalled" if status < 0 else "exited"

    def __repr__(self) -> str:
        reason = self.reason
        state = "running" if reason is None else f"{reason}, status {self.status}"
        return f"<ipcpipes Child process {self.pid}, {state}>"
