"""POSIX: starts a child with one call of the C layer, which takes less time than subprocess does.

The object is a :class:`subprocess.Popen` in all other respects. subprocess has one function that
starts the program, and only this function is replaced. Its name is private, so it is replaced only
if it has the parameters that are known here. If the quick way fails, for any reason, it has left
nothing behind, and subprocess starts the child or raises the error. So the errors are those of
subprocess.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..._ffi import ffi
from . import calls

assert sys.platform != "win32" or not TYPE_CHECKING

# What the quick way can do. All other options are for subprocess.
_OPTIONS = frozenset(
    ["stdin", "stdout", "stderr", "cwd", "env", "close_fds", "pass_fds", "start_new_session"]
)
_PARAMETERS = [
    *("self", "args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env"),
    *("startupinfo", "creationflags", "shell"),
    *("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"),
    *("restore_signals", "gid", "gids", "uid", "umask", "start_new_session", "process_group"),
]
_NO_PROCESS_GROUP = _PARAMETERS[:-1]  # Python 3.10
_subprocess_starts: Any = getattr(subprocess.Popen, "_execute_child", None)
_new_pointers, _new_numbers = ffi.typeof("char *[]"), ffi.typeof("int[]")


def _knows_subprocess() -> bool:
    try:
        found = list(inspect.signature(_subprocess_starts).parameters)
    except (TypeError, ValueError):
        return False
    return found in (_PARAMETERS, _NO_PROCESS_GROUP) and hasattr(
        subprocess.Popen, "_close_pipe_fds"
    )


_CAN_SPAWN = calls.can_spawn() == 0 and _knows_subprocess()


class NotStarted(Exception):
    """A child that should start only quickly was not started."""


def is_quick(options: Mapping[str, Any]) -> bool:
    """Returns whether :func:`start` tries the quick way with these options of subprocess.Popen."""
    # _USE_VFORK is documented: programs switch vfork(2) off with it.
    return (
        _CAN_SPAWN and options.keys() <= _OPTIONS and bool(getattr(subprocess, "_USE_VFORK", True))
    )


def start(
    words: Sequence[Any],
    options: Mapping[str, Any],
    kept: list[subprocess.Popen[bytes]],
    *,
    only_quickly: bool = False,
) -> subprocess.Popen[bytes]:
    """Does what ``subprocess.Popen(words, **options)`` does, and puts the object into ``kept``. In
    the quick way the object is there before the child is, so an exception that a signal handler
    raises does not lose the child; see :func:`give_up`.

    Args:
        only_quickly: starts nothing if the quick way fails, or would wait for a disk.

    Raises:
        NotStarted: the child was not started ``only_quickly``.
    """
    if not is_quick(options):
        kept.append(subprocess.Popen(words, **options))
        return kept[-1]
    process = Popen.__new__(Popen)
    kept.append(process)
    process.begin(words, options, only_quickly)
    return process


def give_up(process: subprocess.Popen[bytes]) -> None:
    """Ends the process that :func:`start` has put into ``kept``, if it has begun."""
    if not isinstance(process, Popen) or process.has_begun():
        process.kill()
        process.wait()


class Popen(subprocess.Popen[bytes]):
    """What users have as ``child.process``, so it has the name of its base class."""

    def begin(self, words: Sequence[Any], options: Mapping[str, Any], only_quickly: bool) -> None:
        """Does what the constructor does."""
        self._only_quickly = only_quickly
        self._found = ffi.new(_new_numbers, 1)  # the C layer stores the process id here
        super().__init__(words, **options)

    def has_begun(self) -> bool:
        """Returns whether there is a process, also if the constructor was interrupted."""
        found = getattr(self, "_found", (0,))
        if found[0]:
            self._note(int(found[0]))
        return getattr(self, "pid", None) is not None

    def _execute_child(self, *given: Any) -> None:
        words, _, _, _, passed, directory, environment = given[:7]
        standard, new_session = given[10:16], given[21]
        sys.audit("subprocess.Popen", words[0], words, directory, environment)
        ends = (standard[0], standard[3], standard[5])
        way = (bool(new_session), self._only_quickly, self._found)
        # subprocess says which argument it cannot encode.
        with suppress(TypeError, ValueError, OverflowError):
            _spawn(words, directory, environment, ends, passed, way)
        if not self._found[0]:
            if self._only_quickly:
                raise NotStarted
            _subprocess_starts(self, *given)
            return
        self._note(int(self._found[0]))
        if max(standard) != -1:
            closing: Any = self
            closing._close_pipe_fds(*standard)

    def _note(self, pid: int) -> None:
        self.pid = pid
        self._child_created = True


def _spawn(
    words: Sequence[Any],
    directory: Any,
    environment: Mapping[bytes, bytes],
    standard: Sequence[int],
    passed: Sequence[int],
    way: tuple[Any, ...],
) -> None:
    """Starts the child. Does nothing if that is not possible.

    Args:
        way: the last arguments of the call: whether the child has a session of its own, whether it
            is started only if its program is cached, and where its process id is stored.

    Raises:
        TypeError, ValueError, OverflowError: an argument cannot be encoded.
    """
    if directory is not None:
        directory = os.fsencode(directory)
        if b"\0" in directory:
            return
    if b"=" in b"".join(environment):
        return
    arguments = [os.fsencode(word) for word in words]
    places = _places(arguments[0], environment)
    variables = [b"%b=%b" % item for item in environment.items()]
    # The C layer counts the strings again, so a NUL in one of them is found.
    text = b"\0".join([*places, *arguments, *variables, b""])
    room = len(places) + len(arguments) + len(variables) + 3
    calls.spawn(
        text,
        len(text),
        len(places),
        len(arguments),
        len(variables),
        ffi.new(_new_pointers, room),
        room,
        ffi.NULL if directory is None else directory,
        ffi.new(_new_numbers, standard),
        ffi.new(_new_numbers, sorted(passed)),
        len(passed),
        *way,
    )


def _places(program: bytes, environment: Mapping[bytes, bytes]) -> list[bytes]:
    """Returns where the program may be, as os.get_exec_path does."""
    if b"/" in program:
        return [program]
    folders = environment.get(b"PATH", os.fsencode(os.defpath)).split(os.fsencode(os.pathsep))
    return [os.path.join(folder, program) for folder in folders]
