"""The directories of plain names on POSIX: one place for each user, whatever the environment."""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint, blocking

if sys.platform == "win32":
    pytest.skip("about Unix domain sockets", allow_module_level=True)

import fcntl

from ipcpipes._os.posix import address as posix_address

from .attackers import as_root

USER = os.geteuid()
FALLBACK = Path(
    f"/run/user/{USER}/ipcpipes" if Path(f"/run/user/{USER}").is_dir() else f"/tmp/ipcpipes-{USER}"
)


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    """A process logs each reason only once, so each test begins anew."""
    posix_address._log_once.cache_clear()
    yield
    posix_address._log_once.cache_clear()


@pytest.fixture
def runtime(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The value of $XDG_RUNTIME_DIR at the beginning of the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))
    return short_tmp


async def exchange(listener: ipcpipes.Listener[ipcpipes.Stream], endpoint: Endpoint) -> str:
    """Connects, and returns the address that the client has found."""
    async with await ipcpipes.connect(endpoint) as client, await listener.accept() as server:
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"
        return client.address


async def test_client_finds_server_without_runtime_directory(
    endpoint: Endpoint, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("XDG_RUNTIME_DIR")
        listener = await ipcpipes.listen(endpoint)
    there = str(FALLBACK / f"{endpoint.name}.sock")
    assert listener.address == there
    async with listener:
        assert await exchange(listener, endpoint) == there
        with blocking.connect(endpoint) as client:
            assert client.address == there
            await (await listener.accept()).aclose()


async def test_second_server_in_another_directory_is_refused(
    endpoint: Endpoint, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither driver listens, and the error names both addresses."""
    with monkeypatch.context() as patch:
        patch.delenv("XDG_RUNTIME_DIR")
        listener = await ipcpipes.listen(endpoint)
    here, there = runtime / "ipcpipes" / f"{endpoint.name}.sock", listener.address
    async with listener:
        for door in (ipcpipes.listen, listen_blocking):
            with pytest.raises(ipcpipes.EndpointInUse) as caught:
                await door(endpoint)
            assert caught.value.address == there
            assert caught.value.holder_pid == os.getpid()
            assert str(here) in str(caught.value)
            assert "XDG_RUNTIME_DIR" in str(caught.value)
            assert not list((runtime / "ipcpipes").iterdir())
    async with await ipcpipes.listen(endpoint) as again:
        assert again.address == str(here)


async def listen_blocking(endpoint: Endpoint) -> None:
    blocking.listen(endpoint).close()


async def test_lock_without_socket_in_another_directory_counts(
    endpoint: Endpoint, runtime: Path
) -> None:
    """The lock may be that of a server which is just starting."""
    FALLBACK.mkdir(mode=0o700, exist_ok=True)
    path = FALLBACK / f"{endpoint.name}.sock.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        async with await ipcpipes.listen(endpoint):
            pass
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ipcpipes.EndpointInUse, match="another listener") as caught:
            await ipcpipes.listen(endpoint)
        assert str(FALLBACK) in str(caught.value)
    finally:
        os.close(lock)
        path.unlink()


async def test_foreign_socket_in_another_directory_counts(
    endpoint: Endpoint, runtime: Path
) -> None:
    FALLBACK.mkdir(mode=0o700, exist_ok=True)
    path = FALLBACK / f"{endpoint.name}.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        try:
            with pytest.raises(ipcpipes.EndpointInUse, match="another listener"):
                await ipcpipes.listen(endpoint)
        finally:
            path.unlink()


async def test_dead_server_does_not_hide_a_live_one_elsewhere(
    endpoint: Endpoint, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runtime / "ipcpipes").mkdir(mode=0o700)
    dead = runtime / "ipcpipes" / f"{endpoint.name}.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(dead))
    with pytest.raises(ipcpipes.EndpointRefused, match="it has ended") as caught:
        await ipcpipes.connect(endpoint)
    assert str(FALLBACK) in str(caught.value)
    with monkeypatch.context() as patch:
        patch.delenv("XDG_RUNTIME_DIR")
        listener = await ipcpipes.listen(endpoint)
    async with listener:
        assert await exchange(listener, endpoint) == listener.address


async def test_not_found_error_names_both_addresses(endpoint: Endpoint, runtime: Path) -> None:
    with pytest.raises(ipcpipes.EndpointNotFound, match="nothing is there") as caught:
        await ipcpipes.connect(endpoint)
    assert caught.value.address == str(runtime / "ipcpipes" / f"{endpoint.name}.sock")
    assert str(FALLBACK / f"{endpoint.name}.sock") in str(caught.value)
    assert not (runtime / "ipcpipes").exists(), "a client makes nothing"


async def test_client_waits_for_server_in_another_directory(
    endpoint: Endpoint, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen_there() -> None:
        await trio.testing.wait_all_tasks_blocked(0.01)
        with monkeypatch.context() as patch:
            patch.delenv("XDG_RUNTIME_DIR")
            listener = await ipcpipes.listen(endpoint)
        async with listener, await listener.accept() as server:
            await server.send_all(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen_there)
        async with await ipcpipes.connect(endpoint, wait=30) as client:
            assert client.address.startswith(str(FALLBACK))
            assert await client.receive_some() == b"x"


async def test_unsafe_other_directory_is_ignored(
    endpoint: Endpoint, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise another user could prevent this one from listening, or could get its clients."""
    other = runtime / "other"
    other.mkdir(mode=0o700)
    monkeypatch.setattr(posix_address, "_last_resort", lambda: str(other))
    path = other / f"{endpoint.name}.sock"
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(str(path))
        squatter.listen()
        with pytest.raises(ipcpipes.EndpointInUse):
            await ipcpipes.listen(endpoint)
        other.chmod(0o777)
        async with await ipcpipes.listen(endpoint):
            pass
        with pytest.raises(ipcpipes.EndpointNotFound):
            await ipcpipes.connect(endpoint)


async def test_directory_with_two_names_is_used_once(
    endpoint: Endpoint, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with /run and /var/run. A server must not find its own lock there."""
    alias = runtime / "alias"
    alias.symlink_to(runtime)
    monkeypatch.setattr(posix_address, "_last_resort", lambda: str(alias / "ipcpipes"))
    async with await ipcpipes.listen(endpoint) as listener:
        assert await exchange(listener, endpoint) == listener.address


@pytest.mark.parametrize("what", ["missing", "below a file", "relative"])
async def test_invalid_runtime_directory_is_ignored(
    endpoint: Endpoint,
    runtime: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    (runtime / "file").touch()
    value = {"missing": runtime / "no", "below a file": runtime / "file/no", "relative": "run"}[
        what
    ]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(value))
    async with await ipcpipes.listen(endpoint) as listener:
        assert listener.address == str(FALLBACK / f"{endpoint.name}.sock")
        assert await exchange(listener, endpoint) == listener.address
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ipcpipes", logging.WARNING)
    why = "is a relative path" if what == "relative" else "does not exist"
    assert why in record.getMessage()
    assert repr(str(value)) in record.getMessage()


@as_root
async def test_runtime_directory_of_another_user_is_ignored(
    endpoint: Endpoint, runtime: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """su(1) leaves such a value in the environment."""
    os.chown(runtime, 54321, -1)
    try:
        async with await ipcpipes.listen(endpoint) as listener:
            assert listener.address == str(FALLBACK / f"{endpoint.name}.sock")
        assert not list(runtime.iterdir())
    finally:
        os.chown(runtime, USER, -1)
    (record,) = caplog.records
    assert f"belongs to user 54321, and this process runs as user {USER}" in record.getMessage()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
async def test_directory_that_cannot_be_made_is_an_endpoint_error(
    endpoint: Endpoint, runtime: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def mkdir(path: str, mode: int = 0o777) -> None:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    for door in (ipcpipes.listen, listen_blocking):
        with pytest.raises(ipcpipes.errors.EndpointError) as caught:
            await door(endpoint)
        text = str(caught.value)
        assert f"cannot make its directory {runtime}/ipcpipes: {os.strerror(code)}; " in text
        assert "\n" not in text
        assert caught.value.errno == code


@pytest.mark.parametrize("call", ["open", "flock", "fstat"])
async def test_failing_lock_file_is_an_endpoint_error(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A network file system without locks fails with ENOLCK."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl if call == "flock" else os, call, refuse)
        with pytest.raises(
            ipcpipes.errors.EndpointError, match=os.strerror(errno.ENOLCK)
        ) as caught:
            blocking.listen(short_tmp / "s")
    assert f"{short_tmp}/s.lock" in str(caught.value)
    assert caught.value.errno == errno.ENOLCK


@pytest.mark.parametrize("user", [pytest.param("root", marks=as_root), "ordinary"])
async def test_umask_0777_does_not_block_the_name(
    endpoint: Endpoint, runtime: Path, user: str
) -> None:
    """A successor can listen while the lock file is still there, and a client can connect."""
    code = """
import os, sys
from ipcpipes import blocking
if sys.argv[1] == "ordinary" and os.geteuid() == 0:
    os.setgid(54321)
    os.setuid(54321)
os.umask(0o777)
listener = blocking.listen(sys.argv[2])
modes = [oct(os.lstat(listener.address + end).st_mode & 0o777) for end in ("", ".lock")]
modes.append(oct(os.lstat(os.path.dirname(listener.address)).st_mode & 0o777))
with blocking.connect(sys.argv[2]) as client, listener.accept() as server:
    client.send_all(b"x")
    assert server.receive_some() == b"x"
print(*modes, flush=True)
os._exit(0)
"""
    if USER == 0 and user == "ordinary":
        os.chown(runtime, 54321, 54321)
    try:
        for _ in range(2):
            result = await trio.run_process(
                [sys.executable, "-c", code, user, endpoint.name], capture_stdout=True
            )
            assert result.stdout.split() == [b"0o600", b"0o600", b"0o700"]
            assert (runtime / "ipcpipes" / f"{endpoint.name}.sock.lock").exists()
    finally:
        os.chown(runtime, USER, -1)


def test_only_one_of_two_racing_servers_gets_the_name(endpoint: Endpoint, runtime: Path) -> None:
    """While a server has the name, it checks that the other one does not have it. Both know both
    directories, as when XDG_RUNTIME_DIR is /run/user/<uid>.
    """
    program = """
import os, sys
from ipcpipes import EndpointInUse, blocking
from ipcpipes._os.posix import address as posix_address
name, flag, *directories = sys.argv[1:]
posix_address._directories = lambda: iter(directories)
sys.stdin.readline()
got = 0
while got < 100:
    try:
        listener = blocking.listen(name)
    except EndpointInUse:
        continue
    os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    os.unlink(flag)
    listener.close()
    got += 1
"""
    places = [str(runtime / "one" / "ipcpipes"), str(runtime / "other" / "ipcpipes")]
    for place in places:
        os.makedirs(place, 0o700)
    command = [sys.executable, "-c", program, endpoint.name, str(runtime / "flag")]
    starters = [
        subprocess.Popen([*command, *order], stdin=subprocess.PIPE)
        for order in (places, places[::-1])
    ]
    try:
        for each in starters:
            assert each.stdin is not None
            each.stdin.write(b"go\n")
            each.stdin.flush()
        assert [each.wait(60) for each in starters] == [0, 0]
    finally:
        for each in starters:
            each.kill()
            each.wait()
            assert each.stdin is not None
            each.stdin.close()
