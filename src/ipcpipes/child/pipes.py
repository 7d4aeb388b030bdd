"""The pipes of one child, from the moment they are opened to the start of the child."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Any, Protocol

from .. import _os
from ..endpoint import Endpoint
from ..framing import Framing, Native
from ..framing.resolving import kind_of, resolve_framing
from ..options import check_max_descriptors
from .handover import Handle, Handover, Kind, check_pipe_names, is_ours, opposite, variables

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

    Word = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    Redirection = int | IO[Any] | None
    Command = Sequence[Word] | Callable[[Mapping[str, str]], Sequence[Word]]


class GivenEnd(Protocol):
    """An end of an anonymous pipe that the user has opened."""

    def hand_over(self) -> str: ...
    def dispose_local_copy(self) -> None: ...


class ChildPipes:
    """The pipes of a child that is not started yet: both ends of each.

    Lifetime: a context manager. ``__init__`` opens all pipes. After the start of the child,
    :meth:`started` closes the child's ends in this process, and :meth:`taken` hands this process'
    ends out. The end of the block closes what is left.

    Args:
        framing, pipes: as for :func:`ipcpipes.open_child`.
        lent: other descriptors that the child inherits, by the name that it knows them by. They are
            closed like the child's ends.
        group: see :class:`.handover.Handover`.
        max_descriptors: as for :func:`ipcpipes.open_child`.

    Raises:
        TypeError, ValueError, OSError: as :func:`ipcpipes.open_child` says.
    """

    def __init__(
        self,
        framing: Framing | Native | None,
        pipes: Mapping[str, str | GivenEnd] | None,
        lent: Mapping[str, int] | None = None,
        group: Mapping[str, Any] | None = None,
        max_descriptors: int = 0,
    ) -> None:
        self._ours: dict[str, tuple[_os.Opened, Kind]] = {}
        self._handles: dict[str, Handle] = {}
        self._theirs = _os.Opened(*(lent or {}).values())
        self._given: list[GivenEnd] = []
        try:
            check_max_descriptors(max_descriptors)
            framing = None if framing is None else resolve_framing(framing)
            if max_descriptors and framing is None:
                raise TypeError("max_descriptors= needs a channel: open_child(framing=...)")
            if framing is not None and isinstance(framing, Framing):
                # A framing of the user's own may fail: better now than after the start.
                framing.splitter()
            self._handover = Handover(self._handles, framing, group, max_descriptors)
            wanted = _wanted(framing, pipes)
            self._names = list(wanted)
            # The given ends come first, so that they are closed if a later step fails.
            for name, given in wanted.items():
                if not isinstance(given, str):
                    self._give(name, given)
            # The child sees the end of the lifeline when this process ends, or when the block is
            # left.
            self._open("lifeline", "send")
            # In this order no two of the child's descriptors have adjacent numbers. CPython cannot
            # close the empty range between two such numbers with one call, and closes all
            # descriptors one by one instead (_close_open_fds in _posixsubprocess.c).
            for name, kind in sorted(wanted.items(), key=_sent_first):
                if isinstance(kind, str):
                    self._open(name, kind)  # type: ignore[arg-type]  # checked in _wanted
            for name, number in (lent or {}).items():
                self._handles[name] = Handle(str(number), "duplex", _os.fingerprint(number))
        except BaseException:
            self.close()
            raise

    def _open(self, name: str, kind: Kind) -> None:
        pair = _os.open_pair(kind)
        theirs = pair.number
        pair.move_last_to(self._theirs)
        self._ours[name] = (pair, kind)
        self._handles[name] = Handle(str(theirs), opposite(kind), _os.fingerprint(theirs))

    def _give(self, name: str, end: GivenEnd) -> None:
        number = end.hand_over()
        self._given.append(end)
        kind: Kind = "send" if hasattr(end, "send_all") else "receive"
        self._handles[name] = Handle(number, kind, _os.fingerprint(int(number)))

    def starting(
        self, command: Command, env: Mapping[str, str] | None, options: Mapping[str, Any]
    ) -> tuple[list[Word], AbstractContextManager[dict[str, Any]]]:
        """Returns the command, and a context that yields the options of subprocess.Popen with which
        the child inherits its ends, and only these. The block starts the child.

        Args:
            command, env: as for :func:`ipcpipes.open_child`.
            options: of subprocess.Popen.
        """
        words = self._words(command)
        ours = variables(self._handover)
        given = {**options, "env": _os.child_environment(env, ours, is_ours)}
        numbers = [int(handle.number) for handle in self._handles.values()]
        return words, _os.inheriting(numbers, given, words[0])

    def _words(self, command: Command) -> list[Word]:
        """Returns the program and its arguments. If ``command`` is a function, it is called with
        the numbers of the handles as text, by their public names.
        """
        if callable(command):
            command = command(
                {
                    name.removeprefix("pipe."): handle.number
                    for name, handle in self._handles.items()
                    if name != "lifeline"
                }
            )
        if isinstance(command, (str, bytes)) or not isinstance(command, Sequence) or not command:
            raise TypeError(f"a command is a sequence of one word or more, not {command!r}")
        return list(command)

    def started(self) -> None:
        """Closes the child's ends in this process, since the child has its copies now. Otherwise
        this process would never see the child's end of a pipe closed.
        """
        self._theirs.close()
        while self._given:
            self._given.pop().dispose_local_copy()

    def taken(
        self, parent_end: Callable[..., Any], pid: int, channel_over: Callable[..., Any]
    ) -> tuple[dict[str, Any], _os.Opened]:
        """Returns this process' ends by the names of :class:`Child`'s attributes (``stream``,
        ``channel`` or ``pipes``), and the lifeline.

        Args:
            parent_end: makes a stream of an open descriptor, for the driver.
            channel_over: makes a channel over a stream.
        """
        ends: dict[str, Any] = {}
        lifeline, _ = self._ours.pop("lifeline")
        for name in [name for name in self._names if name in self._ours]:
            opened, kind = self._ours[name]
            endpoint = Endpoint.inherited(self._handles[name].number)
            ends[name] = parent_end(opened, endpoint, kind, pid)
            if name == "channel":
                told = self._handover
                ends[name] = channel_over(ends[name], told.framing, told.max_descriptors)
        if "stream" in self._handles or "channel" in self._handles:
            return ends, lifeline
        return {"pipes": {name.removeprefix("pipe."): end for name, end in ends.items()}}, lifeline

    def close(self) -> None:
        """Closes the ends that :meth:`taken` has not handed out."""
        self.started()
        for opened, _ in self._ours.values():
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sent_first(wanted: tuple[str, object]) -> bool:
    return wanted[1] != "send"


def _wanted(
    framing: Framing | Native | None, pipes: Mapping[str, str | GivenEnd] | None
) -> dict[str, str | GivenEnd]:
    if pipes is None:
        if framing is None:
            return {"stream": "duplex"}
        return {"channel": kind_of(framing)}
    if framing is not None:
        raise TypeError("a child has a channel (framing=) or pipes, not both")
    check_pipe_names(pipes)
    for name, kind in pipes.items():
        if kind not in ("duplex", "send", "receive") and not hasattr(kind, "hand_over"):
            raise ValueError(
                f'pipe {name!r} must be "duplex", "send" or "receive", or the end of an '
                f"anonymous pipe, not {kind!r}"
            )
    given = [id(kind) for kind in pipes.values() if not isinstance(kind, str)]
    if len(given) != len(set(given)):
        raise ValueError("the same end cannot be handed over under two names")
    return {f"pipe.{name}": kind for name, kind in pipes.items()}
