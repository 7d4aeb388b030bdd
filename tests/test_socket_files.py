"""Files at the path of a socket: what the errors say about them, and how a loss is noticed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint, blocking
from ipcpipes.testing import unique_endpoint

from .children import python_child
from .drivers import in_thread

if sys.platform == "win32":
    pytest.skip("about Unix domain sockets", allow_module_level=True)

from ipcpipes._os.posix import calls as posix_calls, listening as posix_listening
from ipcpipes._os.posix.opened import OpenDescriptors

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")

Door = Callable[..., Awaitable[Any]]


async def connect_blocking(where: Any, **options: Any) -> Any:
    return await in_thread(partial(blocking.connect, where, **options))


async def listen_blocking(where: Any) -> Any:
    return await in_thread(blocking.listen, where)


connecting = pytest.mark.parametrize("connect", [ipcpipes.connect, connect_blocking])
both_doors = pytest.mark.parametrize(
    "door", [ipcpipes.connect, connect_blocking, ipcpipes.listen, listen_blocking]
)


async def test_lock_that_outlives_its_holder_is_reported(short_tmp: Path) -> None:
    """A child that the holder forked still has the lock, so the pid of the holder is not given."""
    program = """
        import os
        listener = await ipcpipes.listen(sys.argv[1])
        child = os.fork()
        if child == 0:
            sys.stdin.read()
            os._exit(0)
        say(os.getpid())
        await trio.sleep_forever()
        """
    where = short_tmp / "s"

    async def refused() -> ipcpipes.EndpointInUse:
        with pytest.raises(ipcpipes.EndpointInUse) as caught:
            await ipcpipes.listen(where)
        return caught.value

    with python_child(program, str(where)) as child:
        holder = int(child.hear())
        error = await refused()
        assert error.holder_pid == holder
        assert f"in use by process {holder};" in str(error)
        os.kill(holder, signal.SIGKILL)
        # First as a zombie, and then after its parent has waited for it.
        with trio.fail_after(30):
            while (error := await refused()).holder_pid is not None:
                await trio.sleep(0.01)
        child.process.wait()
        for each in (error, await refused()):
            assert each.holder_pid is None
            assert f"process {holder}, which took this name, has ended" in str(each)
            assert f"{where}.lock" in str(each)
            assert "stop it" not in str(each)


async def test_empty_lock_file_is_not_written(short_tmp: Path) -> None:
    """It may belong to another program. If ipcpipes was killed before it wrote, nothing is lost."""
    lock = short_tmp / "s.lock"
    lock.touch()
    before = lock.stat()
    async with await ipcpipes.listen(short_tmp / "s"):
        with pytest.raises(ipcpipes.EndpointInUse, match="another listener"):
            await ipcpipes.listen(short_tmp / "s")
    after = lock.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        before.st_ino,
        0,
        before.st_mtime_ns,
    )


def make_file(path: Path, kind: str) -> None:
    if kind == "a directory":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    else:
        path.touch()


@connecting
@pytest.mark.parametrize("kind", ["a regular file", "a directory", "a FIFO"])
@pytest.mark.parametrize("wait", [0, 1000])
async def test_error_says_what_the_file_is(
    short_tmp: Path, connect: Door, kind: str, wait: float
) -> None:
    """It is raised at once, also with wait=, because a server cannot listen there."""
    path = short_tmp / "x"
    make_file(path, kind)
    with trio.fail_after(30), pytest.raises(ipcpipes.NotAnEndpoint) as caught:
        await connect(path, wait=wait)
    assert f"this is {kind}, not a socket" in str(caught.value)
    with pytest.raises(ipcpipes.NotAnEndpoint, match=f"exists and is {kind}, not a socket"):
        await ipcpipes.listen(path)


@connecting
async def test_error_says_what_the_target_of_a_link_is(short_tmp: Path, connect: Door) -> None:
    (short_tmp / "x").symlink_to(short_tmp)
    with pytest.raises(ipcpipes.NotAnEndpoint, match="this is a directory, not a socket"):
        await connect(short_tmp / "x")


# Paths that are not text


@pytest.mark.parametrize("bad", [b"\xff", b"\n", b"\x1b[31m"], ids=["not UTF-8", "line", "escape"])
@pytest.mark.parametrize(
    "fault", ["nothing", "dead", "file", "lock", "live", "no directory", "open", "long"]
)
@both_doors
async def test_unprintable_paths_are_escaped_in_error_texts(
    short_tmp: Path, door: Door, fault: str, bad: bytes
) -> None:
    """The text is one line of ASCII; the attributes have the path unchanged."""
    directory = os.fsencode(short_tmp) + b"/d" + bad
    os.mkdir(directory)
    path = directory + b"/s" + bad
    with ExitStack() as stack:
        if fault in ("dead", "live"):
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(path)
            if fault == "dead":
                server.close()
                os.chmod(path, 0)
        elif fault == "file":
            os.close(os.open(path, os.O_CREAT))
        elif fault == "lock":
            os.mkdir(path + b".lock")
        elif fault == "no directory":
            path = directory + b"/missing/s" + bad
        elif fault == "open":
            os.chmod(directory, 0o777)
        elif fault == "long":
            path += b"x" * 100
        try:
            found = await door(os.fsdecode(path))
        except (ipcpipes.errors.EndpointError, ipcpipes.InvalidEndpoint) as error:
            assert str(error).isprintable()
            str(error).encode("ascii")  # strict, as a locale may be
            if isinstance(error, ipcpipes.errors.EndpointError):
                assert os.fsencode(error.address) == path
                assert os.fsencode(error.filename) == path
                escaped = {b"\xff": r"\xff", b"\n": r"\n", b"\x1b[31m": r"\x1b[31m"}[bad]
                assert f"/s{escaped}" in str(error)
        else:
            # Root may connect to any socket, and listen replaces a dead one.
            assert fault in ("nothing", "dead")
            text = repr(found)
            assert text.isprintable()
            if hasattr(found, "aclose"):
                await found.aclose()
            else:
                found.close()


# Addresses for other programs


async def test_address_follows_a_live_server(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = endpoint.address
    with monkeypatch.context() as patch:
        patch.delenv("XDG_RUNTIME_DIR")
        listener = await ipcpipes.listen(endpoint)
    assert listener.address != here
    async with listener:
        assert endpoint.address == listener.address
    assert endpoint.address == here


def test_endpoints_without_address_raise() -> None:
    with pytest.raises(ipcpipes.NotSupported, match="no address"):
        _ = Endpoint.inherited(0).address
    with pytest.raises(ipcpipes.InvalidEndpoint, match="Windows path"):
        _ = Endpoint.path(r"\\.\pipe\x").address


@both_doors
async def test_relative_temporary_directory_is_refused(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """.NET uses it unchanged, so it means another place in each working directory."""
    monkeypatch.setenv("TMPDIR", "tmp")
    with pytest.raises(ipcpipes.InvalidEndpoint, match="TMPDIR is 'tmp', a relative path"):
        await door(Endpoint.dotnet("x"))
    monkeypatch.setenv("TMPDIR", "")
    assert Endpoint.dotnet("x").address == "/tmp/CoreFxPipe_x"


# Abstract names


@linux_only
@pytest.mark.parametrize("packets", [False, True])
async def test_abstract_name_padded_with_nuls(packets: bool) -> None:
    """Node.js 20 binds such names; all bytes of an address count."""
    name = unique_endpoint().name
    padded = Endpoint.abstract(name.ljust(107, "\0"))
    assert padded.address == "\0" + name.ljust(107, "\0")
    kind = socket.SOCK_SEQPACKET if packets else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(padded.address)
        server.listen()
        with pytest.raises(ConnectionRefusedError):
            await ipcpipes.connect(Endpoint.abstract(name))
        with pytest.raises(ipcpipes.EndpointInUse) as caught:
            if packets:
                async with await ipcpipes.connect_messages(padded, framing=ipcpipes.NATIVE):
                    await ipcpipes.listen_messages(padded, framing=ipcpipes.NATIVE)
            else:
                async with await ipcpipes.connect(padded):
                    await ipcpipes.listen(padded)
        assert f"abstract endpoint '{name}' and {107 - len(name)} NULs" in str(caught.value)
        assert "x00" not in str(caught.value)
    async with await ipcpipes.listen(padded) as listener:
        async with await ipcpipes.connect(padded) as client, await listener.accept():
            assert client.address == "@" + name.ljust(107, "\0")


@linux_only
@pytest.mark.skipif(
    shutil.which("node") is None and "CI" not in os.environ, reason="there is no Node.js here"
)
async def test_node_server_with_abstract_name() -> None:
    """Version 20 pads the name; other versions may not."""
    name = unique_endpoint().name
    program = r"""
        const server = require("net").createServer(client => client.end("from node"));
        server.listen("\0" + process.argv[1], () => console.log("ready"));
        process.stdin.resume().on("end", () => process.exit());
    """
    node = await trio.lowlevel.open_process(
        ["node", "-e", program, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert node.stdout is not None
    assert node.stdin is not None
    async with node.stdin, node.stdout:
        assert await node.stdout.receive_some() == b"ready\n"
        try:
            stream = await ipcpipes.connect(Endpoint.abstract(name.ljust(107, "\0")))
        except ConnectionRefusedError:
            stream = await ipcpipes.connect(Endpoint.abstract(name))
        async with stream:
            assert await stream.receive_some() == b"from node"
    await node.wait()


# Losing the file


@pytest.mark.parametrize("change", ["removed", "replaced"])
@pytest.mark.parametrize("driver", ["trio", "trio without a timer", "blocking"])
async def test_lost_socket_file_is_logged_once(
    short_tmp: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    driver: str,
) -> None:
    """A .NET server that starts at the same address removes the file and makes its own."""
    monkeypatch.setattr(posix_listening, "FILE_CHECK_PAUSE", 0.02)
    if driver == "trio without a timer":  # as on a system that has none, or no descriptors left
        monkeypatch.setattr(posix_calls, "open_watch", lambda descriptors, fd, seconds: None)
    path = short_tmp / "s"
    with ExitStack() as stack:
        listener: Any
        if driver != "blocking":
            listener = await ipcpipes.listen(path)
            accept = listener.accept
        else:
            listener = stack.enter_context(blocking.listen(path))
            accept = partial(in_thread, partial(listener.accept, timeout=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_forever, accept)
            await trio.sleep(0.1)
            assert not caplog.records, "nothing is logged while the file is there"
            path.unlink()
            if change == "replaced":
                other = stack.enter_context(socket.socket(socket.AF_UNIX))
                other.bind(str(path))
            with trio.fail_after(30):
                while not caplog.records:
                    await trio.sleep(0.01)
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        if driver != "blocking":
            await listener.aclose()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ipcpipes", logging.ERROR)
    assert "removed or replaced its socket file" in record.getMessage()
    assert repr(str(path)) in record.getMessage()
    assert path.exists() == (change == "replaced"), "the file of the other program stays"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no timerfd")
async def test_waiting_listener_closes_its_timer(short_tmp: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    closed = count()
    listener = await ipcpipes.listen(short_tmp / "s")
    opened = count()
    for _ in range(2):
        with trio.move_on_after(0.05):
            await listener.accept()
        assert count() == opened + 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_closed, listener)
        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()
    assert count() == closed


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no timerfd")
async def test_an_interrupted_failed_watch_is_opened_again(short_tmp: Path) -> None:
    async with await ipcpipes.listen(short_tmp / "s") as listener:
        watch: Any = listener
        watch._watch.numbers[:] = [-24, -1, -1]
        with trio.move_on_after(0.05):
            await listener.accept()
        assert min(watch._watch.numbers) > 2


async def until_closed(listener: Any) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no timerfd")
def test_failed_watch_opens_nothing(short_tmp: Path) -> None:
    before = os.listdir("/proc/self/fd")
    descriptors = OpenDescriptors()
    posix_calls.open_watch(descriptors, -1, 1.0)
    assert descriptors.numbers == []
    with short_tmp.joinpath("file").open("w") as file:  # epoll(7) refuses regular files
        posix_calls.open_watch(descriptors, file.fileno(), 1.0)
    assert descriptors.numbers == []
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no timerfd")
def test_a_watch_takes_no_number_of_a_standard_stream() -> None:
    code = (
        "import os, socket; from ipcpipes._os.posix import calls, opened; "
        "found = opened.OpenDescriptors(); end, _ = socket.socketpair(); "
        "os.close(0); os.close(1); calls.open_watch(found, end.fileno(), 1); "
        "assert len(found.numbers) == 2 and min(found.numbers) > 2, found.numbers"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def accept_forever(accept: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await accept()
        except TimeoutError:
            await trio.lowlevel.checkpoint()


async def test_closing_a_listener_logs_no_lost_file(
    short_tmp: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posix_listening, "FILE_CHECK_PAUSE", 0.001)

    async def until_closed(listener: Any) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await in_thread(listener.accept)

    for _ in range(50):
        listener = blocking.listen(short_tmp / "s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_closed, listener)
            await trio.sleep(0.003)
            listener.close()
    assert not caplog.records
