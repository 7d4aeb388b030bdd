"""open_for_client opens the paths that the client could open, but none of the server's own."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ipcpipes
from ipcpipes import Endpoint, blocking, open_for_client

from .acting import RunAs, acting, client
from .attackers import OTHER, as_root
from .other_users import line, program

both = pytest.mark.parametrize("driver", ["trio", "blocking"])
linux = pytest.mark.skipif(sys.platform != "linux", reason="about procfs")

RunHere = Callable[..., Any]


@pytest.fixture
def as_client(endpoint: Endpoint) -> Iterator[RunHere]:
    """``run_as_client`` of a connection with this user as the client."""
    if sys.platform not in ("linux", "win32"):
        pytest.skip("no thread can act as a client here")
    with blocking.listen(endpoint) as listener:
        with blocking.connect(endpoint, impersonation="impersonate") as stream:
            with listener.accept() as server:
                stream.send_all(b"Windows needs a message first")
                server.receive_some()
                yield server.run_as_client


@pytest.fixture(params=["openat2", "step by step"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Opens with openat2(2), and as on a system or in a sandbox without it."""
    way: str = request.param
    if sys.platform == "win32" and way == "openat2":
        pytest.skip("Windows has no openat2")
    if sys.platform == "linux" and way == "step by step":
        from ipcpipes._os.posix import calls as posix_calls

        monkeypatch.setattr(posix_calls, "open_without_magic_links", lambda *_: (errno.EPERM, -1))
    return way


def read(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def test_regular_files_can_be_opened(as_client: RunHere, how: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"what\r\nis there")
    for name in (path, str(path)):
        assert read(as_client(open_for_client, name)) == b"what\r\nis there"
    fd = as_client(open_for_client, path)
    assert not os.get_inheritable(fd)
    if sys.platform != "win32":
        assert os.get_blocking(fd)
    os.close(fd)


def test_files_can_be_created(as_client: RunHere, how: str, tmp_path: Path) -> None:
    path = tmp_path / "new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(as_client(open_for_client, path, flags), "wb") as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        as_client(open_for_client, path, flags)


def test_open_for_client_can_be_an_opener(as_client: RunHere, how: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with as_client(lambda: open(path, opener=open_for_client)) as file:
        assert file.read() == "text"


def test_missing_file_error_has_the_path(as_client: RunHere, how: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        as_client(open_for_client, tmp_path / "folder" / "file")
    assert caught.value.filename == str(tmp_path / "folder" / "file")


def test_relative_paths_raise(as_client: RunHere, how: str) -> None:
    for path in ("file", ".", ""):
        with pytest.raises(ValueError, match="from a client must"):
            as_client(open_for_client, path)


def test_only_works_in_run_as_client(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="run_as_client"):
        open_for_client(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="os.open opens none there")
def test_directories_can_be_opened(as_client: RunHere, how: str, tmp_path: Path) -> None:
    (tmp_path / "inside").touch()
    fd = as_client(open_for_client, tmp_path, os.O_RDONLY)
    assert os.listdir(fd) == ["inside"]
    os.close(fd)
    os.close(as_client(open_for_client, "/"))
    os.close(as_client(open_for_client, "/../tmp/./"))


@linux
def test_links_are_followed(as_client: RunHere, how: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    (tmp_path / "to-folder").symlink_to("folder")
    (folder / "to-file").symlink_to(tmp_path / "to-folder" / "file")
    assert read(as_client(open_for_client, tmp_path / "to-folder" / "to-file")) == b"content"
    with pytest.raises(OSError, match=r".") as caught:
        flags = os.O_RDONLY | os.O_NOFOLLOW  # type: ignore[attr-defined, unused-ignore]
        as_client(open_for_client, tmp_path / "to-folder" / "to-file", flags)
    assert caught.value.errno == errno.ELOOP
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=r".") as caught:
        as_client(open_for_client, tmp_path / "loop")
    assert caught.value.errno == errno.ELOOP


@linux
@pytest.mark.parametrize(
    "path",
    [
        "/proc/self/maps",
        "/proc/self/environ",
        "/proc/thread-self/mem",
        "/proc/self/fd",
        "/proc/self/task",
        "/proc/self/../self/status",
    ],
)
def test_procfs_is_refused(as_client: RunHere, how: str, path: str) -> None:
    with pytest.raises(PermissionError, match="procfs"):
        as_client(open_for_client, path)


@linux
def test_links_to_procfs_are_refused(as_client: RunHere, how: str, tmp_path: Path) -> None:
    link = tmp_path / "harmless"
    link.symlink_to("/proc/self/environ")
    with pytest.raises(PermissionError, match="procfs"):
        as_client(open_for_client, link)


@linux
def test_fifos_and_devices_are_refused(as_client: RunHere, how: str, tmp_path: Path) -> None:
    """The thread does not wait for a writer of the fifo."""
    if sys.platform == "win32":
        return
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero")):
        with pytest.raises(PermissionError, match="regular files and directories"):
            as_client(open_for_client, path)


@linux
def test_refused_paths_leave_nothing_open(as_client: RunHere, how: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/proc/self/maps", "/proc/self/fd/0", "/dev/null", f"{tmp_path}/no/file"):
        with pytest.raises(OSError, match=r"."):
            as_client(open_for_client, path)
    os.close(as_client(open_for_client, tmp_path / "file"))
    assert len(os.listdir("/proc/self/fd")) == before


@linux
@as_root
@both
async def test_client_of_another_user_cannot_open_server_files(
    short_tmp: Path, driver: str, how: str
) -> None:
    """With open(), each of these paths gives access to a file of the server. Every user may read
    the file, but it is in a directory that only the server can enter, and the server has it open.
    """
    short_tmp.chmod(0o711)
    private = short_tmp / "private"
    private.mkdir(0o700)
    secret = private / "secret"
    secret.write_text("secret")
    link = short_tmp / "link"

    async def act(run_as_client: RunAs) -> None:
        with pytest.raises(PermissionError):
            await run_as_client(open, secret)
        with secret.open() as file:
            names = [
                f"/proc/self/fd/{file.fileno()}",
                f"/proc/thread-self/fd/{file.fileno()}",
                f"/dev/fd/{file.fileno()}",
                str(link),
            ]
            link.symlink_to(names[0])
            for name in names:
                with await run_as_client(open, name) as leaked:
                    assert leaked.read() == "secret", "open() must leak it, or the test is empty"
                with pytest.raises(OSError, match=r".") as caught:
                    await run_as_client(open_for_client, name)
                assert caught.value.errno in (errno.ELOOP, errno.EACCES)
        with await run_as_client(open, "/proc/self/maps") as maps:
            assert "[stack]" in maps.read(), "open() must leak it, or the test is empty"
        with pytest.raises(PermissionError, match="procfs"):
            await run_as_client(open_for_client, "/proc/self/maps")
        with pytest.raises(PermissionError):
            await run_as_client(open_for_client, secret)

    await acting(short_tmp / "service", act, driver=driver)


_SERVER = """
import subprocess, threading
began, end = threading.Event(), threading.Event()
def act():
    began.set()
    end.wait(60)
with blocking.listen(sys.argv[1], access=AccessPolicy.everyone()) as listener:
    say("ready")
    with listener.accept() as stream:
        thread = threading.Thread(target=stream.run_as_client, args=(act,))
        thread.start()
        began.wait()
        {meanwhile}
        say("went on")
        end.set()
        thread.join()
"""
_LIBC_ENDS_THE_PROCESS = (-signal.SIGABRT, -9)  # glibc, musl


@linux
@as_root
@pytest.mark.parametrize(
    ("meanwhile", "survives"),
    [
        ("os.setgroups([1])", False),
        ("os.seteuid(1)", False),
        ("os.setuid(1)", False),
        ("subprocess.run(['/bin/true'], user=1, group=1, extra_groups=[1], check=True)", True),
    ],
)
def test_changing_the_process_user_meanwhile_ends_it(
    short_tmp: Path, meanwhile: str, survives: bool
) -> None:
    short_tmp.chmod(0o711)
    where = short_tmp / "service"
    with subprocess.Popen(
        program(_SERVER.format(meanwhile=meanwhile), where),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:
        assert line(server.stdout) == "ready"
        with client(where, "stream", OTHER, "impersonate"):
            assert (line(server.stdout) == "went on") is survives
            status = server.wait(60)
    assert status == 0 if survives else status in _LIBC_ENDS_THE_PROCESS


@pytest.mark.skipif(sys.platform != "win32", reason="about drives")
def test_paths_without_a_drive_are_refused(as_client: RunHere) -> None:
    for path in (
        "\\file",
        "C:file",
        "\\\\server\\share\\file",
        "\\\\.\\pipe\\name",
        "\\\\?\\GLOBALROOT\\Device\\Null",
        "CONIN$",
    ):
        with pytest.raises(ValueError, match="must begin with a drive"):
            as_client(open_for_client, path)


@pytest.mark.skipif(sys.platform != "win32", reason="about names of devices")
def test_device_names_are_refused(as_client: RunHere, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        as_client(open_for_client, tmp_path / "NUL")


@pytest.mark.skipif(sys.platform in ("linux", "win32"), reason="about systems without")
def test_systems_without_impersonation_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    from ipcpipes.security import client_files

    monkeypatch.setattr(client_files, "is_acting", lambda: True)
    with pytest.raises(ipcpipes.NotSupported):
        open_for_client("/etc/passwd")
