"""Unix domain sockets: socket files, their directories, modes and locks, and descriptors."""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint
from ipcpipes.testing import check_listener, unique_endpoint

from .children import python_child
from .pairs import stream_pair

if sys.platform == "win32":
    pytest.skip("about Unix domain sockets", allow_module_level=True)


from ipcpipes._os.posix import calls as posix_calls
from ipcpipes.security import compile_policy

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


def files_of(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@linux_only
async def test_conformance_of_abstract_names() -> None:
    async def make() -> tuple[Any, Any]:
        listener = await ipcpipes.listen(Endpoint.abstract(unique_endpoint().name))
        assert listener.address.startswith("@test-")
        return listener, lambda: ipcpipes.connect(listener.endpoint)

    await check_listener(make)


@linux_only
async def test_abstract_name_in_use_is_refused() -> None:
    where = Endpoint.abstract(unique_endpoint().name)
    async with await ipcpipes.listen(where):
        with pytest.raises(ipcpipes.EndpointInUse, match="another listener"):
            await ipcpipes.listen(where)
    with pytest.raises(ConnectionRefusedError):
        await ipcpipes.connect(where)


@linux_only
async def test_abstract_names_follow_the_access_policy(caplog: pytest.LogCaptureFixture) -> None:
    # They have no mode, so only the check at accept denies other users.
    admits = compile_policy(ipcpipes.AccessPolicy.current_user(), "duplex").admits
    me = os.geteuid()
    assert admits(posix_calls.Credentials(1, me, 0))
    assert admits(posix_calls.Credentials(1, 0, 0))
    assert not admits(posix_calls.Credentials(1, me + 1, 0))
    everyone = compile_policy(ipcpipes.AccessPolicy.everyone(), "duplex")
    assert everyone.admits(posix_calls.Credentials(1, me + 1, 0))


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root to become another user"
)
async def test_client_of_another_user_is_denied(caplog: pytest.LogCaptureFixture) -> None:
    where = Endpoint.abstract(unique_endpoint().name)
    program = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[1])\n"
        "print(repr(s.recv(10)))"
    )
    async with await ipcpipes.listen(where) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept)
        result = await trio.run_process(
            [sys.executable, "-c", program, where.name], capture_stdout=True
        )
        assert result.stdout.strip() == b"b''"
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "turned away" in record.getMessage()
    assert "65534" in record.getMessage()


async def test_name_of_a_killed_server_is_free(short_tmp: Path) -> None:
    path = short_tmp / "s"
    for _ in range(3):
        with python_child(
            """
            listener = await ipcpipes.listen(sys.argv[1])
            async with await ipcpipes.connect(sys.argv[1]), await listener.accept():
                say("ready")
                await trio.sleep_forever()
            """,
            str(path),
        ) as child:
            assert child.hear() == "ready"
            child.kill()
    async with await ipcpipes.listen(path) as listener:
        async with await ipcpipes.connect(path), await listener.accept():
            pass
    assert files_of(short_tmp) == set()


@pytest.mark.parametrize("name", ["s", "s.lock"])
@pytest.mark.parametrize("kind", ["file", "empty file", "directory", "link", "fifo"])
async def test_files_other_than_sockets_are_unchanged(
    short_tmp: Path, kind: str, name: str
) -> None:
    obstacle = short_tmp / name
    target = short_tmp / "target"
    target.write_text("precious")
    if kind == "file":
        obstacle.write_text("precious")
    elif kind == "empty file":
        obstacle.touch()
    elif kind == "directory":
        obstacle.mkdir()
    elif kind == "link":
        obstacle.symlink_to(target)
    else:
        os.mkfifo(obstacle)
    before = obstacle.lstat()
    if (name, kind) == ("s.lock", "empty file"):
        # A listener that was killed before it wrote its pid leaves such a lock file.
        async with await ipcpipes.listen(short_tmp / "s"):
            return
    with pytest.raises(FileExistsError, match="left alone") as caught:
        await ipcpipes.listen(short_tmp / "s")
    assert isinstance(caught.value, ipcpipes.NotAnEndpoint)
    assert str(obstacle) in str(caught.value)
    after = obstacle.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )
    assert target.read_text() == "precious"
    assert files_of(short_tmp) == {name, "target"}


@pytest.mark.parametrize("kind", ["STREAM", "SEQPACKET", "DGRAM"])
@pytest.mark.parametrize("state", ["bound", "listening", "full"])
async def test_listen_does_not_disturb_a_foreign_live_socket(
    short_tmp: Path, kind: str, state: str
) -> None:
    """The other program also does not lose the one client that it may be waiting for."""
    if sys.platform != "linux" and kind == "SEQPACKET":
        pytest.skip("this system has no such sockets")
    path = short_tmp / "s"
    address = str(path)
    with ExitStack() as sockets:
        socket_type = getattr(socket, f"SOCK_{kind}")
        other = sockets.enter_context(socket.socket(socket.AF_UNIX, socket_type))
        other.bind(address)
        other.setblocking(False)
        if kind != "DGRAM" and state != "bound":
            other.listen(0)
        if kind != "DGRAM" and state == "full":
            sockets.enter_context(socket.socket(socket.AF_UNIX, socket_type)).connect(address)
        for _ in range(50):
            with pytest.raises(ipcpipes.EndpointInUse, match="another listener"):
                await ipcpipes.listen(path)
        assert path.is_socket()
        if kind == "DGRAM":
            with pytest.raises(BlockingIOError):
                other.recv(1)
        elif state == "listening":
            with pytest.raises(BlockingIOError):
                other.accept()
            sockets.enter_context(socket.socket(socket.AF_UNIX, socket_type)).connect(address)
            sockets.enter_context(other.accept()[0])
    async with await ipcpipes.listen(path):
        pass
    assert files_of(short_tmp) == set()


async def test_connected_datagram_socket_is_in_use(short_tmp: Path) -> None:
    """It accepts datagrams only from its peer, so a probe fails with EPERM."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(short_tmp / "one"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(str(short_tmp / "other"))
            one.connect(str(short_tmp / "other"))
            with pytest.raises(ipcpipes.EndpointInUse):
                await ipcpipes.listen(short_tmp / "one")


async def test_close_removes_only_its_own_socket_file(short_tmp: Path) -> None:
    path = short_tmp / "s"
    async with await ipcpipes.listen(path):
        path.unlink()
        path.write_text("someone else's")
    assert path.read_text() == "someone else's"
    path.unlink()
    async with await ipcpipes.listen(path):
        path.unlink()
    assert files_of(short_tmp) == set()


async def test_default_mode_allows_only_the_current_user(short_tmp: Path) -> None:
    old = os.umask(0)
    try:
        async with await ipcpipes.listen(short_tmp / "mine"):
            assert (short_tmp / "mine").stat().st_mode & 0o777 == 0o600
            assert (short_tmp / "mine.lock").stat().st_mode & 0o777 == 0o600
        os.umask(0o777)
        async with await ipcpipes.listen(
            short_tmp / "all", access=ipcpipes.AccessPolicy.everyone()
        ):
            assert (short_tmp / "all").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(old)


async def test_bad_directories_are_refused(short_tmp: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"does not exist; make it first"):
        await ipcpipes.listen(short_tmp / "missing" / "s")
    with pytest.raises(ValueError, match=r"108|104"):
        await ipcpipes.listen(short_tmp / ("s" * 108))
    (short_tmp / "file").touch()
    with pytest.raises(FileNotFoundError):
        await ipcpipes.listen(short_tmp / "file" / "s")
    (short_tmp / "open").mkdir()
    (short_tmp / "open").chmod(0o777)
    with pytest.raises(PermissionError, match="every user can write"):
        await ipcpipes.listen(short_tmp / "open" / "s")
    assert files_of(short_tmp / "open") == set()
    (short_tmp / "open").chmod(0o1777)  # as /tmp: other users cannot replace the socket
    async with await ipcpipes.listen(short_tmp / "open" / "s"):
        pass
    assert files_of(short_tmp) == {"file", "open"}


async def test_longest_path_works(short_tmp: Path) -> None:
    limit = 108 if sys.platform == "linux" else 104
    name = "s" * (limit - 2 - len(str(short_tmp)))
    async with await ipcpipes.listen(short_tmp / name) as listener:
        async with await ipcpipes.connect(short_tmp / name), await listener.accept():
            assert len(listener.address) == limit - 1


async def test_dead_socket_file_is_refused(short_tmp: Path) -> None:
    path = short_tmp / "s"
    with python_child(
        """
        listener = await ipcpipes.listen(sys.argv[1])
        say("ready")
        await trio.sleep_forever()
        """,
        str(path),
    ) as child:
        assert child.hear() == "ready"
        child.kill()
    assert path.is_socket()
    with pytest.raises(ConnectionRefusedError, match="no server listens on this socket") as caught:
        await ipcpipes.connect(path)
    assert type(caught.value) is ipcpipes.EndpointRefused


async def test_connect_to_broken_paths_raises(short_tmp: Path) -> None:
    with pytest.raises(FileNotFoundError, match="start the server"):
        await ipcpipes.connect(short_tmp / "missing" / "s")
    plain = short_tmp / "file"
    plain.write_text("precious")
    with pytest.raises(FileNotFoundError, match="not a directory"):
        await ipcpipes.connect(plain / "s")
    loop = short_tmp / "loop"
    loop.symlink_to(loop)
    with pytest.raises(PermissionError, match="too many symbolic links"):
        await ipcpipes.connect(loop)


async def test_socket_of_another_type_is_denied(short_tmp: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(short_tmp / "d"))
        with pytest.raises(PermissionError, match="another type"):
            await ipcpipes.connect(short_tmp / "d")


async def test_unsafe_runtime_directory_is_refused(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))
    private = short_tmp / "ipcpipes"

    async def both(match: str) -> None:
        for door in (ipcpipes.connect, ipcpipes.listen):
            with pytest.raises(ipcpipes.UnsafeDirectory, match=match) as caught:
                await door("svc")
            assert isinstance(caught.value, PermissionError)

    private.mkdir()
    private.chmod(0o770)
    await both("can be written by others")
    private.rmdir()
    private.symlink_to(short_tmp)
    await both("is a link or not a directory")
    private.unlink()
    private.write_text("")
    await both("is a link or not a directory")
    private.unlink()
    short_tmp.chmod(0o777)
    await both("can be written by others")
    assert not private.exists()
    short_tmp.chmod(0o700)


async def test_fallback_directory_is_used(
    monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        async with await ipcpipes.listen(endpoint) as listener:
            uid = os.geteuid()
            if Path(f"/run/user/{uid}").is_dir():
                assert listener.address == f"/run/user/{uid}/ipcpipes/{endpoint.name}.sock"
            else:
                assert listener.address == f"/tmp/ipcpipes-{uid}/{endpoint.name}.sock"
            async with await ipcpipes.connect(endpoint):
                pass


async def test_close_removes_only_its_own_lock_file(short_tmp: Path) -> None:
    async with await ipcpipes.listen(short_tmp / "s"):
        (short_tmp / "s.lock").unlink()
        (short_tmp / "s.lock").write_text("someone else's")
    assert (short_tmp / "s.lock").read_text() == "someone else's"


async def test_lock_file_removed_before_lock_is_made_again(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the holder removes the file after listen opened it, the locked file has no name."""
    import fcntl

    lock = fcntl.flock
    removed: list[bool] = []

    def flock(fd: int, operation: int) -> None:
        if not removed:
            removed.append(True)
            (short_tmp / "s.lock").unlink()
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    async with await ipcpipes.listen(short_tmp / "s"):
        assert removed
        with pytest.raises(ipcpipes.EndpointInUse):
            await ipcpipes.listen(short_tmp / "s")


async def test_directory_of_plain_names_has_mode_0700(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))
    old = os.umask(0o777)
    try:
        async with await ipcpipes.listen("svc"):
            assert (short_tmp / "ipcpipes").stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(old)


async def test_interrupt_after_a_partial_send_breaks_sending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, server = await stream_pair()
    send = posix_calls.send

    def send_and_be_interrupted(fd: int, data: object, offset: int, length: int) -> int:
        send(fd, data, offset, length // 2)
        raise KeyboardInterrupt

    async with client, server:
        with monkeypatch.context() as patch:
            patch.setattr(type(server), "_put", staticmethod(send_and_be_interrupted))
            with pytest.raises(KeyboardInterrupt):
                await client.send_all(b"a message")
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="interrupted"):
                await client.send_all(b"more")
        await server.send_all(b"the other direction goes on")
        assert await client.receive_some() == b"the other direction goes on"


def test_import_works_without_enodata() -> None:
    """FreeBSD has no ENODATA."""
    program = "import errno; vars(errno).pop('ENODATA', None); import ipcpipes"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


async def test_connection_without_its_options_is_an_error(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses an option; nothing is left open."""
    async with await ipcpipes.listen(endpoint) as listener:
        with monkeypatch.context() as patch:
            patch.setattr(posix_calls, "set_options", lambda *_: -errno.ENOBUFS)
            with pytest.raises(ipcpipes.EndpointError) as caught:
                await ipcpipes.connect(endpoint)
            assert caught.value.errno == errno.ENOBUFS
        async with await ipcpipes.connect(endpoint), await listener.accept():
            pass
