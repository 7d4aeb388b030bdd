"""Access control with clients that really are other users, which only root can start."""

from __future__ import annotations

import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Group, User

if sys.platform == "win32":
    pytest.skip("about credentials of Unix sockets", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING

import grp
import pwd

from .attackers import GROUP, OTHER, as_root

NOBODY = pwd.getpwnam("nobody")
DAEMON = pwd.getpwnam("daemon")

# The client changes its user after it has loaded everything, because other users may not be able to
# read the files of Python itself.
CLIENT = """
import os, socket, sys
where, uid, gid, *groups = sys.argv[1:]
os.setgroups([int(group) for group in groups])
os.setgid(int(gid))
os.setuid(int(uid))
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(where)
except PermissionError:
    print("denied")
else:
    print(s.recv(100).decode() or "ended")
"""


def ask_as(where: Path, uid: int, gid: int = 65534, groups: Sequence[int] = ()) -> str:
    """Returns what a client of this user gets: "in", "ended", or "denied" by the file's mode."""
    found = subprocess.run(
        [sys.executable, "-c", CLIENT, where, *map(str, (uid, gid, *groups))],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


async def answers(where: Path, policy: AccessPolicy, *clients: Callable[[], str]) -> list[str]:
    """Returns what each client gets from a server with this policy."""

    async def greet(stream: ipcpipes.abc.ByteStream) -> None:
        await stream.send_all(b"in")

    found: list[str] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, greet, where, policy)
            for client in clients:
                found.append(await trio.to_thread.run_sync(client))
            nursery.cancel_scope.cancel()
    return found


async def _serve(
    greet: Callable[..., object],
    where: Path,
    policy: AccessPolicy,
    task_status: trio.TaskStatus[object],
) -> None:
    await ipcpipes.serve(greet, where, access=policy, task_status=task_status)  # type: ignore[arg-type]


@pytest.fixture
def where(short_tmp: Path) -> Path:
    short_tmp.chmod(0o711)
    return short_tmp / "service"


@as_root
async def test_default_policy_denies_other_users(where: Path) -> None:
    found = await answers(
        where,
        AccessPolicy.current_user(),
        lambda: ask_as(where, 0, 0),
        lambda: ask_as(where, NOBODY.pw_uid),
        lambda: ask_as(where, OTHER, 0, [0]),
    )
    assert found == ["in", "denied", "denied"]


@as_root
@pytest.mark.parametrize("by_name", [True, False])
async def test_allowed_users_can_connect(where: Path, by_name: bool) -> None:
    user = User("nobody" if by_name else NOBODY.pw_uid)
    found = await answers(
        where,
        AccessPolicy([user]),
        lambda: ask_as(where, 0, 0),
        lambda: ask_as(where, NOBODY.pw_uid),
        lambda: ask_as(where, DAEMON.pw_uid),
    )
    assert found == ["in", "in", "ended"]


@as_root
async def test_primary_and_supplementary_groups_both_count(where: Path) -> None:
    found = await answers(
        where,
        AccessPolicy([Group(GROUP)]),
        lambda: ask_as(where, OTHER, GROUP),
        lambda: ask_as(where, OTHER, 65534, [7, GROUP]),
        lambda: ask_as(where, OTHER, 65534, range(1000, 1100)),
        lambda: ask_as(where, OTHER, 65534, [*range(1000, 1100), GROUP]),
    )
    assert found == ["in", "in", "denied", "in"]


@as_root
async def test_deny_overrides_allow(where: Path) -> None:
    policy = AccessPolicy(
        [User("nobody"), User(OTHER), Group(GROUP)], [User("daemon"), Group("games")]
    )
    games = grp.getgrnam("games").gr_gid
    found = await answers(
        where,
        policy,
        lambda: ask_as(where, NOBODY.pw_uid),
        lambda: ask_as(where, NOBODY.pw_uid, 65534, [games]),
        lambda: ask_as(where, DAEMON.pw_uid, GROUP),
        lambda: ask_as(where, OTHER, games),
        lambda: ask_as(where, OTHER),
    )
    assert found == ["in", "ended", "ended", "ended", "in"]


@as_root
async def test_everyone_except_denied_users(where: Path) -> None:
    found = await answers(
        where,
        AccessPolicy.everyone(deny=[User("nobody")]),
        lambda: ask_as(where, NOBODY.pw_uid),
        lambda: ask_as(where, DAEMON.pw_uid),
        lambda: ask_as(where, OTHER),
    )
    assert found == ["ended", "in", "in"]


@as_root
async def test_root_can_be_denied_by_name(
    where: Path,
) -> None:
    """The server runs as another user and denies root."""
    program = f"""
import os, sys, trio, ipcpipes
import trio._core._run
os.setgroups([]); os.setgid(65534); os.setuid({NOBODY.pw_uid})
async def greet(stream): await stream.send_all(b"in")
async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: ipcpipes.serve(
            greet, {str(where)!r}, task_status=task_status,
            access=ipcpipes.AccessPolicy.everyone(deny=[ipcpipes.User("root")])))
        print("ready", flush=True)
trio.run(main)
"""
    where.parent.chmod(0o711)
    os.chown(where.parent, NOBODY.pw_uid, -1)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            assert ask_as(where, 0, 0) == "ended"
            assert ask_as(where, DAEMON.pw_uid) == "in"
        finally:
            server.kill()
    os.chown(where.parent, 0, -1)


@as_root
async def test_denied_client_is_logged_once(where: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ipcpipes")
    await answers(where, AccessPolicy([User("daemon")]), lambda: ask_as(where, NOBODY.pw_uid))
    (record,) = [one for one in caplog.records if one.name.startswith("ipcpipes")]
    assert record.levelno == logging.WARNING
    assert "turned away" in record.getMessage()
    assert f"user {NOBODY.pw_uid}, process " in record.getMessage()


@as_root
@pytest.mark.parametrize(
    ("policy", "mode", "group"),
    [
        (AccessPolicy.current_user(), 0o600, 0),
        (AccessPolicy.everyone(), 0o666, 0),
        (AccessPolicy([User("root")]), 0o600, 0),
        (AccessPolicy([User("nobody")]), 0o666, 0),
        (AccessPolicy([Group(GROUP)]), 0o660, GROUP),
        (AccessPolicy([Group(GROUP), Group(7)]), 0o666, 0),
    ],
    ids=repr,
)
async def test_socket_file_has_the_narrowest_mode(
    where: Path, policy: AccessPolicy, mode: int, group: int
) -> None:
    async with await ipcpipes.listen(where, access=policy):
        found = where.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (mode, group)


async def test_policies_that_posix_cannot_express_are_errors(where: Path) -> None:
    for policy in (
        AccessPolicy([User(0, "read")]),
        AccessPolicy.everyone(rights="write"),
        AccessPolicy.everyone(deny=[Group(7, "write")]),
    ):
        with pytest.raises(ipcpipes.NotSupported, match="allowed or denied in both"):
            await ipcpipes.listen(where, access=policy)
    with pytest.raises(ipcpipes.NotSupported, match="only on Windows"):
        await ipcpipes.listen(where, access=AccessPolicy.sddl("D:P(A;;FA;;;WD)"))
    with pytest.raises(ipcpipes.NotSupported, match="other machines"):
        await ipcpipes.listen(where, access=AccessPolicy(remote=True))
    assert not where.exists()


async def test_listening_user_cannot_be_denied(where: Path) -> None:
    for account in (User(os.geteuid()), Group(os.getegid())):
        with pytest.raises(ValueError, match="denies access to the user that listens"):
            await ipcpipes.listen(where, access=AccessPolicy.everyone(deny=[account]))
    assert not where.exists()


def test_groups_of_a_peer_are_those_of_its_process(where: Path) -> None:
    from ipcpipes._os.posix import calls as posix_calls

    left, right = socket.socketpair()
    with left, right:
        found = posix_calls.peer_credentials(left.fileno())
    assert found.groups == tuple(os.getgroups())


@as_root
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have at most 16 groups")
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 100])
def test_all_groups_of_a_peer_are_told(count: int) -> None:
    program = f"""if True:
        import os, socket
        os.setgroups(range(5000, 5000 + {count}))
        from ipcpipes._os.posix import calls
        left, right = socket.socketpair()
        print(list(calls.peer_credentials(left.fileno()).groups))
        print(list(calls.client_credentials(left.fileno()).groups))
    """
    told = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    expected = f"{list(range(5000, 5000 + count))}\n"
    assert told.stdout.decode() == expected * 2


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux's")
@pytest.mark.parametrize("length", [0, 1, 18, 107])
def test_address_of_a_client_is_told_until_it_leaves(length: int, where: Path) -> None:
    from ipcpipes._os.posix import calls as posix_calls

    address = b"\0" + os.urandom(length) if length else b""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(where))
        listener.listen()
        if address:
            client.bind(address)
        client.connect(str(where))
        accepted, _ = listener.accept()
        with accepted:
            found = posix_calls.client_credentials(accepted.fileno())
            assert found is not None
            assert found.address == address
            assert (found.pid, found.uid, found.gid) == (os.getpid(), os.geteuid(), os.getegid())
            client.close()
            assert posix_calls.client_credentials(accepted.fileno()) is None


@as_root
async def test_peer_has_groups_and_executable(where: Path) -> None:
    found: list[ipcpipes.PeerIdentity] = []

    async def note(stream: ipcpipes.abc.ByteStream) -> None:
        found.append(stream.peer)
        await stream.send_all(b"in")

    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, note, where, AccessPolicy.everyone())
        await trio.to_thread.run_sync(lambda: ask_as(where, NOBODY.pw_uid, 7, [GROUP, 8]))
        nursery.cancel_scope.cancel()
    (peer,) = found
    assert (peer.user, peer.uid, peer.gid) == ("nobody", NOBODY.pw_uid, 7)
    assert peer.groups is not None
    assert set(peer.groups) == {GROUP, 8}
    if sys.platform == "linux":
        assert peer.executable is not None
        assert Path(peer.executable).samefile(sys.executable)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the program")
def test_executable_of_an_ended_process_is_none(where: Path) -> None:
    from ipcpipes._os.posix import calls as posix_calls

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where))
        listener.listen()
        program = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
        with subprocess.Popen(
            [sys.executable, "-c", program + "; input()", where], stdin=-1
        ) as one:
            accepted, _ = listener.accept()
            with accepted:
                credentials = posix_calls.peer_credentials(accepted.fileno())
                alive = credentials.identity(accepted.fileno()).executable
                one.communicate(b"\n")
                assert credentials.identity(accepted.fileno()).executable is None
    assert alive is not None
    assert Path(alive).samefile(sys.executable)
