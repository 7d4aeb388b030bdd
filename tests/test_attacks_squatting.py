"""Other users that take a place first: listen reports it in one line and changes no files."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ipcpipes
from ipcpipes import Endpoint
from ipcpipes.testing import unique_endpoint

if sys.platform == "win32":
    pytest.skip("about files of other users", allow_module_level=True)

from .attackers import (
    OTHER,
    VICTIM,
    as_root,
    attacker,
    ordinary_user,
    what_is_said,
)


@contextmanager
def left_alone(*paths: Path) -> Iterator[None]:
    """Checks that these files are unchanged afterwards."""

    def look() -> list[object]:
        found: list[object] = []
        for path in paths:
            try:
                at = path.lstat()
            except FileNotFoundError:
                found.append(None)
            else:
                text = path.read_bytes() if path.is_file() else b""
                found.append((at.st_ino, at.st_mode, at.st_uid, at.st_gid, at.st_mtime_ns, text))
        return found

    before = look()
    yield
    assert look() == before


async def refused(where: Path, kind: type[ipcpipes.errors.EndpointError], match: str) -> None:
    """Checks that listen raises exactly this error, with one line of text."""
    with pytest.raises(kind, match=match) as caught:
        await ipcpipes.listen(where)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert str(where) in str(caught.value)


async def refused_for_lock(
    where: Path, kind: type[ipcpipes.errors.EndpointError], match: str
) -> None:
    """Does the same for a lock file of the other user. If the system denies root the files of other
    users in a sticky directory (links always; fs.protected_regular, fs.protected_fifos), listen
    raises EndpointDenied.
    """
    try:
        os.close(os.open(f"{where}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK))
    except PermissionError:
        kind, match = ipcpipes.EndpointDenied, f"open its lock file {where}.lock, of user {OTHER}"
    except OSError:
        pass  # it is a link, and the system reports that
    await refused(where, kind, match)


@as_root
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_SEQPACKET", "SOCK_DGRAM"])
async def test_socket_of_another_user_is_in_use(sticky: Path, kind: str) -> None:
    """The other user sees a connection, and gets no data."""
    program = f"""
s = socket.socket(socket.AF_UNIX, socket.{kind})
s.bind(sys.argv[1])
if s.type != socket.SOCK_DGRAM:
    s.listen()
say("there")
hear()
s.setblocking(False)
while True:
    try:
        say(s.recv(100) if s.type == socket.SOCK_DGRAM else s.accept()[0].recv(100))
    except BlockingIOError:
        break
"""
    with attacker(program, sticky / "s") as squatter:
        assert squatter.hear() == "there"
        with left_alone(sticky / "s"):
            await refused(sticky / "s", ipcpipes.EndpointInUse, "another listener")
        squatter.say("go on")
        assert set(what_is_said(squatter)) <= {"b''"}
    assert {path.name for path in sticky.iterdir()} == {"s"}


@as_root
async def test_dead_socket_of_another_user_blocks_ordinary_users(
    sticky: Path,
) -> None:
    """An ordinary user gets an error with the reason; root removes it, as any dead socket."""
    program = "os.umask(0); socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
    with attacker(program, sticky / "s") as squatter:
        assert squatter.wait() == 0
    with left_alone(sticky / "s"):
        with ordinary_user("doors(sys.argv[1])", sticky / "s") as user:
            listening, connecting = what_is_said(user)
    assert listening.startswith("EndpointDenied")
    assert "a dead server left this socket, and it cannot be removed" in listening
    assert connecting.startswith("EndpointRefused")
    async with await ipcpipes.listen(sticky / "s"):
        pass
    assert not list(sticky.iterdir())


@as_root
async def test_lock_held_by_another_user_is_in_use(sticky: Path) -> None:
    """The other user can block the name, whatever pid the file names; the file stays."""
    program = """
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o666)
os.write(lock, b"ipcpipes listener, process 1\\n")
fcntl.flock(lock, fcntl.LOCK_EX)
say("held")
hear()
"""
    with attacker(program, sticky / "s.lock") as squatter:
        assert squatter.hear() == "held"
        with left_alone(sticky / "s.lock"):
            await refused_for_lock(sticky / "s", ipcpipes.EndpointInUse, "process 1")
            with ordinary_user("doors(sys.argv[1])", sticky / "s") as user:
                assert what_is_said(user)[0].startswith(("EndpointDenied", "EndpointInUse"))


@as_root
async def test_lease_on_the_lock_file_does_not_block(sticky: Path) -> None:
    """Opening a file with a write lease waits for its holder, up to 45 s; listen must not wait."""
    if sys.platform != "linux":
        pytest.skip("only Linux has leases")
    program = """
signal.signal(signal.SIGIO, signal.SIG_IGN)
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o666)
fcntl.fcntl(lock, fcntl.F_SETLEASE, fcntl.F_WRLCK)
say("leased")
hear()
"""
    with attacker(program, sticky / "s.lock") as squatter:
        assert squatter.hear() == "leased"
        with pytest.raises(ipcpipes.errors.EndpointError, match=f"of user {OTHER}"):
            await ipcpipes.listen(sticky / "s")


@as_root
@pytest.mark.parametrize("name", ["s", "s.lock"])
@pytest.mark.parametrize("target", ["precious", "empty", "missing", "live", "dead", "directory"])
async def test_link_of_another_user_is_not_followed(
    sticky: Path,
    short_tmp: Path,
    name: str,
    target: str,
) -> None:
    """The target is not written, made or removed."""
    home = short_tmp / "h"
    home.mkdir(mode=0o700)
    (home / "precious").write_text("precious")
    (home / "empty").touch()
    (home / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as dead:
        live.bind(str(home / "live"))
        live.listen()
        dead.bind(str(home / "dead"))
        with attacker("os.symlink(*sys.argv[1:])", home / target, sticky / name) as squatter:
            assert squatter.wait() == 0
        with left_alone(home / target, sticky / name):
            if name == "s":
                await refused(sticky / "s", ipcpipes.NotAnEndpoint, "left alone")
            else:
                await refused_for_lock(sticky / "s", ipcpipes.NotAnEndpoint, "left alone")
        assert {path.name for path in sticky.iterdir()} == {name}


@pytest.mark.parametrize("text", ["", "precious", "ipcpipes listener, process 1\n"])
async def test_hard_link_as_lock_file_is_not_written(
    sticky: Path,
    short_tmp: Path,
    text: str,
) -> None:
    """Other users can make one if fs.protected_hardlinks is off; the test makes it itself."""
    (short_tmp / "precious").write_text(text)
    os.link(short_tmp / "precious", sticky / "s.lock")
    with left_alone(short_tmp / "precious", sticky / "s.lock"):
        await refused(sticky / "s", ipcpipes.NotAnEndpoint, "not a lock file; it was left alone")


async def test_hard_link_to_live_socket_is_in_use(
    sticky: Path,
    short_tmp: Path,
) -> None:
    """The server of the socket goes on."""
    async with await ipcpipes.listen(short_tmp / "live") as listener:
        os.link(short_tmp / "live", sticky / "s")
        with left_alone(sticky / "s", short_tmp / "live"):
            await refused(sticky / "s", ipcpipes.EndpointInUse, "another listener")
        async with await ipcpipes.connect(short_tmp / "live") as client:
            async with await listener.accept() as server:
                await client.send_all(b"x")
                assert await server.receive_some() == b"x"


@as_root
async def test_fifo_as_lock_file_does_not_block(sticky: Path) -> None:
    with attacker("os.mkfifo(sys.argv[1], 0o666)", sticky / "s.lock") as squatter:
        assert squatter.wait() == 0
    with left_alone(sticky / "s.lock"):
        await refused_for_lock(sticky / "s", ipcpipes.NotAnEndpoint, "not a lock file")


# Plain names


@as_root
@pytest.mark.parametrize("what", ["directory", "link", "file"])
def test_fallback_directory_of_another_user_is_unsafe(what: str) -> None:
    """Without a runtime directory, plain names are in a directory in /tmp. If it belongs to another
    user, listen and connect raise UnsafeDirectory.
    """
    uid = OTHER + 1000 + ["directory", "link", "file"].index(what)
    place = Path(f"/tmp/ipcpipes-{uid}")
    program = {
        "directory": "os.mkdir(sys.argv[1])",
        "link": "os.symlink('/', sys.argv[1])",
        "file": "open(sys.argv[1], 'x').close()",
    }[what]
    with attacker(program, place) as squatter:
        assert squatter.wait() == 0
    try:
        with left_alone(place):
            with ordinary_user("del os.environ['XDG_RUNTIME_DIR']; doors('svc')", uid=uid) as user:
                lines = what_is_said(user)
    finally:
        place.rmdir() if what == "directory" else place.unlink()
    why = f"belongs to user {OTHER}" if what == "directory" else "is a link or not a directory"
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("UnsafeDirectory")
        assert f"{place} {why}" in line


@as_root
def test_fallback_directory_in_unsticky_tmp_is_unsafe() -> None:
    """If /tmp is not sticky, another user could replace the directory at any time."""
    program = """
libc = ctypes.CDLL(None, use_errno=True)
del os.environ["XDG_RUNTIME_DIR"]
# A /tmp of its own: CLONE_NEWNS; MS_REC | MS_PRIVATE.
if libc.unshare(0x20000) or libc.mount(None, b"/", None, 0x44000, None):
    say("no namespace")
    sys.exit()
assert libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, sys.argv[1].encode()) == 0
become(54323, 65534)
doors("svc")
"""
    if sys.platform != "linux":
        pytest.skip("only Linux has mount namespaces")
    for mode, kinds in (
        ("mode=1777", ["Listener", "EndpointNotFound"]),
        ("mode=777", ["UnsafeDirectory", "UnsafeDirectory"]),
    ):
        with ordinary_user(program, mode, uid=0) as user:
            lines = what_is_said(user)
        if lines == ["no namespace"]:
            pytest.skip("this system does not allow mount namespaces")
        assert [line.split()[0] for line in lines] == kinds, lines


@as_root
@pytest.mark.parametrize("what", ["their directory", "their link to ours", "their link in ours"])
def test_runtime_directory_of_another_user_is_not_used(short_tmp: Path, what: str) -> None:
    """Whatever $XDG_RUNTIME_DIR is: a directory of another user is ignored, because su(1) leaves
    such a value; a link of another user is an error for listen and connect.
    """
    short_tmp.chmod(0o711)
    ours, theirs = short_tmp / "ours", short_tmp / "theirs"
    for directory, uid in ((ours, VICTIM), (theirs, OTHER)):
        directory.mkdir(mode=0o700)
        os.chown(directory, uid, -1)
    (ours / "ipcpipes").mkdir(mode=0o700)
    os.chown(ours / "ipcpipes", VICTIM, -1)
    runtime = theirs
    if what == "their link to ours":
        runtime = short_tmp / "link"
        runtime.symlink_to(ours)
        os.chown(runtime, OTHER, -1, follow_symlinks=False)
    elif what == "their link in ours":
        runtime = ours
        (ours / "ipcpipes").rmdir()
        (ours / "ipcpipes").symlink_to(theirs)
        os.chown(ours / "ipcpipes", OTHER, -1, follow_symlinks=False)
    name = unique_endpoint().name
    with ordinary_user(
        "os.environ['XDG_RUNTIME_DIR'] = sys.argv[1]; doors(sys.argv[2])", runtime, name
    ) as user:
        lines = what_is_said(user)
    assert len(lines) == 2
    if what == "their directory":
        assert lines[0] == f"Listener /tmp/ipcpipes-{VICTIM}/{name}.sock"
        assert lines[1].startswith("EndpointNotFound")
        assert str(theirs) not in lines[1]
    else:
        for line in lines:
            assert line.startswith("UnsafeDirectory"), line
    assert not list(theirs.iterdir())


# Abstract names


@as_root
@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
async def test_abstract_name_of_another_user_is_in_use() -> None:
    """All bytes of a name count, so a shorter or longer name is a different one."""
    name = unique_endpoint().name
    program = """
taken = []
for name in ("\\0" + sys.argv[1], "\\0" + sys.argv[1] + "-free\\0", "\\0" + sys.argv[1] + "-fre"):
    s = socket.socket(socket.AF_UNIX)
    s.bind(name)
    s.listen()
    taken.append(s)
say("taken")
hear()
"""
    with attacker(program, name) as squatter:
        assert squatter.hear() == "taken"
        with pytest.raises(ipcpipes.EndpointInUse, match="another listener"):
            await ipcpipes.listen(Endpoint.abstract(name))
        free = Endpoint.abstract(name + "-free")
        async with await ipcpipes.listen(free) as listener:
            async with await ipcpipes.connect(free) as client, await listener.accept():
                assert client.peer.uid == 0
