"""``ipc_spawn``: what it refuses, and that a failed start leaves nothing."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipcpipes._ffi import ffi, lib

from .processes import children_of_this_process

if sys.platform != "linux":
    pytest.skip("only Linux has it", allow_module_level=True)
assert sys.platform == "linux" or not TYPE_CHECKING

from .starting import evict, on_disk

CALL: dict[str, Any] = {
    "places": [b"/bin/true"],
    "words": [b"true"],
    "variables": [b"A=1"],
    "room": None,
    "directory": None,
    "standard": [-1, -1, -1],
    "kept": [],
    "text": None,
    "counts": None,
    "only_cached": False,
}


def spawn(**changes: Any) -> tuple[int, int]:
    """Returns the result, and the process id or 0."""
    call = {**CALL, **changes}
    strings = [*call["places"], *call["words"], *call["variables"]]
    text = b"".join(b"%b\0" % each for each in strings) if call["text"] is None else call["text"]
    given = [len(call[name]) for name in ("places", "words", "variables")]
    places, words, variables = call["counts"] or given
    room = len(strings) + 3 if call["room"] is None else call["room"]
    pid = ffi.new("int *")
    result = lib.ipc_spawn(
        text,
        len(text),
        places,
        words,
        variables,
        ffi.new("char *[]", len(strings) + 3),
        room,
        ffi.NULL if call["directory"] is None else call["directory"],
        ffi.new("int[3]", call["standard"]),
        ffi.new("int[]", call["kept"]),
        len(call["kept"]),
        False,
        call["only_cached"],
        pid,
    )
    return result, pid[0]


def status_of(**changes: Any) -> int:
    result, pid = spawn(**changes)
    assert result == 0
    assert os.waitpid(pid, 0)[0] == pid
    return result


HUGE = 2**64 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"room": 5},
        {"room": 0},
        {"room": 2},
        {"counts": [0, 1, 1]},
        {"counts": [1, 0, 1]},
        {"counts": [1, 1, 0]},
        {"counts": [1, 1, 2], "room": 7},
        {"counts": [HUGE, 1, 1]},
        {"counts": [1, HUGE, 1]},
        {"counts": [1, 1, HUGE]},
        {"counts": [1, HUGE, HUGE]},
        {"counts": [HUGE, HUGE, HUGE], "room": HUGE - 2},
        {"text": b""},
        {"text": b"/bin/true"},
        {"text": b"/bin/true\0true\0A=1"},
        {"text": b"/bin/true\0true\0A=1\0more\0"},
        {"words": [b"true", b"a\0b"]},
        {"variables": [b"A=a\0b"]},
        {"standard": [0, -1, -1]},
        {"standard": [-1, 2, -1]},
        {"standard": [-2, -1, -1]},
        {"kept": [2]},
        {"kept": [-1]},
        {"kept": [5, 5]},
        {"kept": [6, 5]},
    ],
    ids=str,
)
def test_senseless_arguments_are_refused(changes: dict[str, Any]) -> None:
    assert spawn(**changes) == (-errno.EINVAL, 0)
    assert not children_of_this_process()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"places": [b"/nonexistent"]}, errno.ENOENT),
        ({"places": [b"/nonexistent", b"/bin/true/x"]}, errno.ENOTDIR),
        ({"places": [b"/"]}, errno.EACCES),
        ({"directory": b"/nonexistent"}, errno.ENOENT),
        ({"words": [b"x" * 200_000]}, errno.E2BIG),
        ({"standard": [987, -1, -1]}, errno.EBADF),
        ({"kept": [987]}, errno.EBADF),
    ],
    ids=str,
)
def test_failed_start_leaves_no_child(changes: dict[str, Any], code: int) -> None:
    assert spawn(**changes) == (-code, 0)
    assert not children_of_this_process()


def test_second_place_is_tried() -> None:
    assert status_of(places=[b"/nonexistent", b"/", b"/bin/true"]) == 0


def test_only_a_program_in_memory_is_started(tmp_path: Path) -> None:
    program = on_disk(tmp_path)
    (tmp_path / "link").symlink_to(program)
    cached: dict[str, Any] = {"only_cached": True}
    for place, directory in (
        (os.fsencode(program), None),
        (os.fsencode(tmp_path / "link"), None),
        (b"program", os.fsencode(tmp_path)),
    ):
        evict(program)
        assert spawn(places=[place], directory=directory, **cached) == (-errno.EAGAIN, 0)
        evict(program)
        missing = b"/nonexistent/program"
        assert spawn(places=[missing, place], directory=directory, **cached)[0] == -errno.EAGAIN
    assert not children_of_this_process()
    program.read_bytes()
    assert status_of(places=[os.fsencode(program)], **cached) == 0
    assert status_of(places=[b"./program"], directory=os.fsencode(tmp_path), **cached) == 0


def test_a_program_that_cannot_be_looked_at_is_not_started() -> None:
    cached: dict[str, Any] = {"only_cached": True}
    assert spawn(places=[b"/nonexistent"], **cached) == (-errno.ENOENT, 0)
    assert spawn(places=[b"/"], **cached) == (-errno.EACCES, 0)
    assert spawn(directory=b"/nonexistent", **cached) == (-errno.ENOENT, 0)
    assert spawn(directory=b"/bin/true", **cached) == (-errno.ENOTDIR, 0)


def test_no_variables_and_many() -> None:
    assert status_of(variables=[]) == 0
    assert status_of(variables=[b"A%d=" % number for number in range(5000)]) == 0
