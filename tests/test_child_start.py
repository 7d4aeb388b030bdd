"""A child starts as with subprocess.Popen: it has the same properties, and errors are the same."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ipcpipes import blocking, open_child

from .conftest import WINDOWS
from .processes import children_of_this_process

if WINDOWS:
    pytest.skip("subprocess starts every child on Windows", allow_module_level=True)
assert sys.platform == "linux" or not TYPE_CHECKING

from ipcpipes._os.posix import spawning

from .starting import DRIVERS, Counter, Run, both_drivers, on_disk, output, popen, way

__all__ = ["way"]  # a fixture

LINUX = sys.platform == "linux"
linux_only = pytest.mark.skipif(not LINUX, reason="Linux has the quick way, and /proc")

# Programs that tell what they have inherited. A shell would change some of it.
REPORTS = [
    ["grep", "-E", "^(Sig(Blk|Ign|Cgt)|Groups|Uid|Gid|Umask):", "/proc/self/status"],
    ["readlink", "/proc/self/cwd"],
    ["env", "-0"],
]
SESSION = ["cut", "-d ", "-f1,6", "/proc/self/stat"]
# The C library of pytest's terminal sets some behind Python's back.
NOT_COMPARED = ("IPCPIPES_", "COLUMNS=", "LINES=")


def report(run: Run, path: Path, options: dict[str, Any]) -> list[str]:
    *lines, environment = [output(run, command, path, **options) for command in REPORTS]
    variables = [each for each in environment.split("\0") if not each.startswith(NOT_COMPARED)]
    process, session = output(run, SESSION, path, **options).split()
    return [*lines, *sorted(variables), "own session" if process == session else "session"]


@contextmanager
def unusual_process(folder: Path, blocked: set[int]) -> Iterator[None]:
    """Changes everything that a child inherits."""
    before = os.getcwd(), os.umask(0o027)
    signals = signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN
    handlers = [signal.getsignal(number) for number in signals]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    os.chdir(folder)
    os.environb[b"UNUSUAL\xff"] = b"\xfe\n"
    try:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.signal(signal.SIGRTMIN, lambda *_: None)
        yield
    finally:
        del os.environb[b"UNUSUAL\xff"]
        os.chdir(before[0])
        os.umask(before[1])
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler)


@linux_only
@both_drivers
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="none"),
        pytest.param({"cwd": "/"}, id="cwd"),
        pytest.param({"cwd": b"/usr"}, id="bytes"),
        pytest.param({"cwd": Path("/usr")}, id="path"),
        pytest.param({"env": {"PATH": os.defpath, "A": "1", "B": ""}}, id="env"),
        pytest.param({"start_new_session": True}, id="session"),
        pytest.param(
            {"start_new_session": True, "cwd": "/", "stdin": subprocess.DEVNULL}, id="several"
        ),
        pytest.param({"umask": 0o077}, id="umask"),
        pytest.param({"restore_signals": False}, id="signals"),
        pytest.param({"preexec_fn": os.setsid}, id="preexec_fn"),
    ],
)
def test_child_inherits_what_a_child_of_popen_inherits(
    run: Run, options: dict[str, Any], way: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    # trio starts the others in threads, which were made with another mask.
    is_quick = way == "quick" and spawning.is_quick(options)
    is_in_this_thread = is_quick or run is DRIVERS["blocking"]
    blocked = {int(signal.SIGTERM), int(signal.SIGRTMIN) + 1} if is_in_this_thread else set()
    with unusual_process(folder, blocked):
        expected = report(popen, tmp_path / "out", options)
        found = report(run, tmp_path / "out", options)
    assert found == expected
    assert (found[-1] == "own session") == bool({"start_new_session", "preexec_fn"} & set(options))
    assert "env" in options or "UNUSUAL\udcff=\udcfe\n" in found
    mask = sum(1 << (number - 1) for number in blocked)
    assert f"SigBlk:\t{mask:016x}" in found[0]


@linux_only
@both_drivers
@pytest.mark.parametrize(
    ("options", "attempts"),
    [
        ({}, 1),
        ({"cwd": "/"}, 1),
        ({"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}, 1),
        ({"start_new_session": False}, 1),
        ({"umask": 0o022}, 0),
        ({"preexec_fn": None}, 0),
        ({"restore_signals": True}, 0),
        ({"user": os.getuid()}, 0),
        ({"group": os.getgid()}, 0),
        ({"extra_groups": os.getgroups()}, 0),
        ({"executable": "/bin/true"}, 0),
        ({"pipesize": 4096}, 0),
        *([({"process_group": 0}, 0)] if sys.version_info >= (3, 11) else []),
    ],
    ids=str,
)
def test_options_of_few_programs_are_left_to_subprocess(
    run: Run, options: dict[str, Any], attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if {"group", "extra_groups"} & options.keys() and os.geteuid():
        pytest.skip("only root may set its groups")
    counter = Counter(monkeypatch)
    assert run(["true"], **options) == 0
    assert len(counter.codes) == attempts
    # The second: the program was not in memory, and this driver may not wait for the disk.
    assert set(counter.codes) <= {0, -errno.EAGAIN}


@linux_only
@both_drivers
def test_vfork_can_be_switched_off_as_for_subprocess(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Counter(monkeypatch)
    monkeypatch.setattr(subprocess, "_USE_VFORK", False, raising=False)
    assert run(["true"]) == 0
    assert counter.codes == []


@linux_only
def test_this_version_of_subprocess_is_known() -> None:
    assert spawning._CAN_SPAWN


@pytest.mark.parametrize("function", [None, len, lambda self, args: None, lambda *args: None])
def test_an_unknown_version_of_subprocess_is_noticed(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawning, "_subprocess_starts", function)
    assert not spawning._knows_subprocess()


def test_child_of_an_unknown_version_of_trio_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from ipcpipes.child import opening

    monkeypatch.setattr(opening, "_process_of", None)

    async def main() -> None:
        async with open_child(["true"]) as child:
            assert type(child.process) is trio.Process
            assert await child.wait() == 0

    trio.run(main)


# Standard streams

TELL = ["sh", "-c", "read line; echo out $line; echo err >&2"]


@pytest.mark.parametrize("merged", [False, True])
@both_drivers
def test_standard_streams_are_those_of_popen(
    run: Run, merged: bool, way: str, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"hello\n")
    said = []
    for each in (popen, run):
        with (
            (tmp_path / "in").open("rb") as given,
            (tmp_path / "out").open("wb") as out,
            (tmp_path / "err").open("wb") as err,
        ):
            stderr = subprocess.STDOUT if merged else err.fileno()
            assert each(TELL, stdin=given, stdout=out, stderr=stderr) == 0
        said.append([(tmp_path / name).read_bytes() for name in ("out", "err")])
    assert said[0] == said[1]
    assert said[1][0] == (b"out hello\nerr\n" if merged else b"out hello\n")


def test_standard_streams_can_be_numbers_of_standard_streams(way: str) -> None:
    """In a process of its own, whose standard streams are known."""
    program = (
        "from ipcpipes import blocking\n"
        "with blocking.open_child(['sh', '-c', 'echo 1; echo 2 >&2'], stdout=2, stderr=1) as child:"
        " child.wait()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"2\n", b"1\n")


@pytest.mark.parametrize("option", ["stdin", "stdout", "stderr"])
def test_pipes_of_subprocess_work(option: str, way: str) -> None:
    command = ["sh", "-c", "read x; echo $x; echo $x >&2"]
    options: dict[str, Any] = {option: subprocess.PIPE}
    with blocking.open_child(command, **options) as child:
        file = getattr(child.process, option)
        if option == "stdin":
            file.write(b"hello\n")
            file.flush()
        child.wait()


# Errors


def _without_path(tmp_path: Path) -> dict[str, Any]:
    return {"env": {"PATH": f"{tmp_path}::/nonexistent"}}


ERRORS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "missing path": (["/nonexistent/program"], {}),
    "missing name": (["no-such-program-anywhere"], {}),
    "missing bytes": ([b"/nonexistent/\xff"], {}),
    "empty name": ([""], {}),
    "folder": (["/"], {}),
    "no permission": (["./denied"], {}),
    "no format": (["./text"], {}),
    "no interpreter": (["./orphan"], {}),
    "no interpreter on the path": (["orphan"], {"env": {"PATH": "."}}),
    "denied on the path": (["denied"], {"env": {"PATH": "/nonexistent:."}}),
    "file in the path": (["true"], {"env": {"PATH": "./text"}}),
    "missing folder": (["true"], {"cwd": "/nonexistent"}),
    "empty folder": (["true"], {"cwd": ""}),
    "file as folder": (["true"], {"cwd": "./text"}),
    "both missing": (["/nonexistent"], {"cwd": "/also/nonexistent"}),
    "too long": (["true", "x" * 200_000], {}),
    "too many": (["true", *["x" * 100_000] * 100], {}),
    "NUL in the program": (["tr\0ue"], {}),
    "NUL in an argument": (["true", "a\0b"], {}),
    "NUL in a folder": (["true"], {"cwd": "/\0x"}),
    "NUL in a variable": (["true"], {"env": {"A": "a\0b"}}),
    "name with =": (["true"], {"env": {"A=B": "c"}}),
    "number as an argument": (["true", 5], {}),
    "None as an argument": (["true", None], {}),
    "number as a folder": (["true"], {"cwd": 5}),
    "surrogate": (["true", "\ud800"], {}),
    "closed stdin": (["true"], {"stdin": 987}),
    "large stdin": (["true"], {"stdin": 2**40}),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text, mode in (
        ("denied", "#!/bin/sh\n", 0o644),
        ("text", "no program", 0o755),
        ("orphan", "#!/nonexistent/interpreter\n", 0o755),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@both_drivers
@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_popen(run: Run, name: str, folder: Path) -> None:
    """That nothing stays open is checked after each test."""
    command, options = ERRORS[name]
    with pytest.raises(Exception) as expected:  # noqa: PT011
        popen(command, **options)
    with pytest.raises(Exception) as found:  # noqa: PT011
        run(command, **options)
    assert type(found.value) is type(expected.value)
    assert str(found.value) == str(expected.value)
    for attribute in ("errno", "filename", "filename2"):
        assert getattr(found.value, attribute, None) == getattr(expected.value, attribute, None)
    if LINUX:
        assert not children_of_this_process()


@linux_only
@both_drivers
def test_program_is_found_as_popen_finds_it(run: Run, folder: Path, way: str) -> None:
    """In the first folder where it can be begun; an empty name is the working directory."""
    (folder / "mine").write_text("#!/bin/sh\npwd\n")
    (folder / "mine").chmod(0o755)
    other = folder / "other"
    other.mkdir()
    (other / "mine").write_text("#!/bin/sh\n")  # may not be executed
    for path in (f"{other}::/bin", f"/nonexistent:{folder}"):
        env = {"PATH": path}
        assert output(run, ["mine"], folder / "out", env=env) == f"{folder}\n"


# The object of the process


def test_process_is_a_popen(way: str) -> None:
    with blocking.open_child(["sh", "-c", "exec sleep 600"]) as child:
        process = child.process
        assert isinstance(process, subprocess.Popen)
        assert repr(process).startswith("<Popen: returncode: None args: ['sh', '-c', 'exec sl")
        assert process.args == ["sh", "-c", "exec sleep 600"]
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
        assert process.poll() is None
        assert process.returncode is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.001)
        process.send_signal(signal.SIGUSR1)
        assert process.wait() == -signal.SIGUSR1 == process.returncode == process.poll()
        process.terminate()  # no effect, no error
        process.kill()
    assert (child.status, child.reason) == (-signal.SIGUSR1, "signalled")


def test_process_under_trio_is_a_trio_process(way: str) -> None:
    async def main() -> None:
        async with open_child(["sleep", "600"]) as child:
            process = child.process
            assert type(process) is trio.Process
            assert process.args == ["sleep", "600"]
            assert (process.stdin, process.stdout, process.stdio) == (None, None, None)
            assert process.poll() is None
            process.kill()
            assert await process.wait() == -signal.SIGKILL == process.returncode
        assert child.reason == "signalled"

    trio.run(main)


def test_audit_hooks_see_and_can_refuse_the_start(way: str) -> None:
    """In a process of its own: an audit hook stays for ever."""
    program = """
import sys
from ipcpipes import blocking
def look(event, arguments):
    if event == "subprocess.Popen":
        print(arguments[0], arguments[1], arguments[2], sep="|")
        if arguments[1][-1] == "refused":
            raise PermissionError("no")
sys.addaudithook(look)
with blocking.open_child(["true", "allowed"], cwd="/"):
    pass
try:
    with blocking.open_child(["true", "refused"]):
        pass
except PermissionError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [
        "true|['true', 'allowed']|/",
        "true|['true', 'refused']|None",
        "no",
    ]


# Cancellation


@pytest.mark.parametrize("shape", ["before", "meanwhile"])
def test_cancelled_start_leaves_no_child(shape: str, way: str) -> None:
    began = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            if shape == "before":
                scope.cancel()
            else:
                trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            async with open_child(["sleep", "600"]) as child:
                began.append(child)
                await trio.sleep_forever()
        assert scope.cancelled_caught

    trio.run(main)
    assert not (shape == "before" and began)
    assert [child.reason for child in began] == ["terminated"] * len(began)
    if LINUX:
        assert not children_of_this_process()


def test_start_lets_other_tasks_run(way: str) -> None:
    async def main() -> None:
        opening = open_child(["true"])
        with trio.testing.assert_checkpoints():
            await opening.__aenter__()
        await opening.__aexit__(None, None, None)

    trio.run(main)


@linux_only
def test_loop_does_not_wait_for_a_program_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = on_disk(tmp_path)
    counter = Counter(monkeypatch)

    async def main() -> None:
        for _ in range(2):
            async with open_child([program]) as child:
                assert type(child.process) is trio.Process
                assert await child.wait() == 0

    trio.run(main)
    # A thread has started the first, and by that the program has come into memory.
    assert counter.codes == [-errno.EAGAIN, 0]


@linux_only
def test_blocking_start_waits_for_a_program_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = on_disk(tmp_path)
    counter = Counter(monkeypatch)
    with blocking.open_child([program]) as child:
        assert child.wait() == 0
    assert counter.codes == [0]


@linux_only
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM, errno.EAGAIN])
@both_drivers
def test_a_refused_system_call_leaves_the_start_to_subprocess(
    run: Run, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ipcpipes._os.posix import calls

    asked = []

    def refuse(*arguments: Any) -> int:
        asked.append(arguments)
        return -code

    monkeypatch.setattr(calls, "spawn", refuse)
    assert run(["sh", "-c", "exit 7"]) == 7
    assert len(asked) == 1
