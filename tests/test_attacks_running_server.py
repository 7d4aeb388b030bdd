"""A server that runs while its policy, its accounts or its files are changed."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Group, User

if sys.platform == "win32":
    pytest.skip("about socket files and users", allow_module_level=True)

import pwd

from .attackers import GROUP, OTHER, as_root, attacker, what_is_said
from .children import Child

SECONDS = 60

# For each line "again", connects and prints the answer.
CLIENT = """
while hear() == "again":
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        try:
            s.connect(sys.argv[1])
            say(s.recv(100).decode() or "ended")
        except OSError as error:
            say(type(error).__name__)
"""


@asynccontextmanager
async def serving(where: Path, access: AccessPolicy | None = None) -> AsyncIterator[None]:
    async def greet(stream: ipcpipes.abc.ByteStream) -> None:
        await stream.send_all(b"in")

    where.parent.chmod(0o711)
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(ipcpipes.serve, greet, where, access=access))
            yield
            nursery.cancel_scope.cancel()


async def told(client: Child) -> str:
    client.say("again")
    return await trio.to_thread.run_sync(client.hear)


@as_root
async def test_policy_copies_its_lists(short_tmp: Path) -> None:
    """Changes of the lists after the policy was made have no effect, before or after listen."""
    allowed, denied = [User("daemon")], [Group(GROUP)]
    policy = AccessPolicy(allowed, denied)
    allowed.append(User(OTHER))
    with attacker(CLIENT, short_tmp / "s") as client:
        async with serving(short_tmp / "s", policy):
            allowed.append(User(OTHER))
            denied.clear()
            assert await told(client) == "ended"


@as_root
async def test_accounts_are_looked_up_by_listen(
    short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user that gets the name later is not allowed, and the user that had it stays allowed."""
    uids = {"guest": OTHER}
    monkeypatch.setattr(
        pwd, "getpwnam", lambda name: pwd.struct_passwd((name, "", uids[name], 0, "", "/", ""))
    )
    with attacker(CLIENT, short_tmp / "s") as first:
        with attacker(CLIENT, short_tmp / "s", uid=OTHER + 1) as second:
            async with serving(short_tmp / "s", AccessPolicy([User("guest"), User(7)])):
                assert (await told(first), await told(second)) == ("in", "ended")
                uids["guest"] = OTHER + 1
                assert (await told(first), await told(second)) == ("in", "ended")


@as_root
async def test_groups_count_as_they_are_at_connect(short_tmp: Path) -> None:
    """A connected client that loses the group stays connected; its next connection is denied."""
    program = f"""
become(0, 0, [{GROUP}])
def as_other():
    os.setegid({OTHER}); os.seteuid({OTHER})
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    try:
        s.connect(sys.argv[1])
        return s, s.recv(100).decode() or "ended"
    except OSError as error:
        return s, type(error).__name__
as_other()
member, answer = connect()
say(answer)
os.seteuid(0)
os.setgroups([])
as_other()
say(connect()[1])
member.sendall(b"still here")
say(member.recv(100).decode())
"""

    async def greet(stream: ipcpipes.abc.ByteStream) -> None:
        await stream.send_all(b"in")
        async for data in stream:
            await stream.send_all(data)

    short_tmp.chmod(0o711)
    for policy, turned_away in (
        (AccessPolicy([Group(GROUP)]), "PermissionError"),  # by the file's mode
        (AccessPolicy([Group(GROUP), User(7)]), "ended"),  # at accept
    ):
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(ipcpipes.serve, greet, short_tmp / "s", access=policy))
                with attacker(program, short_tmp / "s", uid=0, gid=0) as client:
                    said = await trio.to_thread.run_sync(what_is_said, client)
                nursery.cancel_scope.cancel()
        assert said == ["in", turned_away, "still here"]


@as_root
async def test_wider_file_mode_does_not_admit_other_users(
    short_tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The check at accept denies users that the policy does not name."""
    path = short_tmp / "s"
    with attacker(CLIENT, path) as client:
        async with serving(path):
            assert await told(client) == "PermissionError"
            path.chmod(0o777)
            os.chown(path, OTHER, GROUP)
            assert await told(client) in ("ended", "ConnectionResetError")
            async with await ipcpipes.connect(path) as friend:
                assert await friend.receive_some() == b"in"
    assert f"user {OTHER}, " in caplog.text
    assert not list(short_tmp.iterdir()), "the listener still removes its file"


@as_root
async def test_narrower_file_mode_denies_other_users(short_tmp: Path) -> None:
    """The server and its connected clients are not affected."""
    path = short_tmp / "s"
    with attacker(CLIENT, path) as client:
        async with serving(path, AccessPolicy.everyone()):
            assert await told(client) == "in"
            path.chmod(0)
            assert await told(client) == "PermissionError"
            path.chmod(0o666)
            assert await told(client) == "in"


async def test_usurping_server_gets_no_connection_of_the_listener(short_tmp: Path) -> None:
    """Nor does it get the connection that a full listener makes to itself. It keeps its file."""
    path = short_tmp / "s"
    async with await ipcpipes.listen(path, max_instances=1) as listener:
        client = await ipcpipes.connect(path)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as usurper:
            usurper.bind(str(path))
            usurper.listen()
            usurper.setblocking(False)
            async with client, await listener.accept() as server:
                await server.send_all(b"x")
                assert await client.receive_some() == b"x"
                with pytest.raises(BlockingIOError):
                    usurper.accept()
            await listener.aclose()
            assert path.is_socket()


@pytest.mark.parametrize("full", [False, True])
async def test_removed_lock_file_does_not_free_the_name(short_tmp: Path, full: bool) -> None:
    """A new listener finds the socket alive, also if its queue is full."""
    path, lock = short_tmp / "s", short_tmp / "s.lock"
    async with await ipcpipes.listen(path, backlog=1 if full else 10) as listener:
        lock.unlink()
        client = await ipcpipes.connect(path)
        with pytest.raises(ipcpipes.EndpointInUse, match="another listener"):
            await ipcpipes.listen(path)
        async with client, await listener.accept() as server:
            await server.send_all(b"x")
            assert await client.receive_some() == b"x"
    assert not list(short_tmp.iterdir())


async def test_moved_directory_does_not_end_the_server(short_tmp: Path) -> None:
    """The server keeps serving and closes without an error. The old place is left alone."""
    old, new = short_tmp / "old", short_tmp / "new"
    old.mkdir()
    async with await ipcpipes.listen(old / "s") as listener:
        old.rename(new)
        old.mkdir()
        (old / "s").write_text("another program's")
        (old / "s.lock").write_text("another program's")
        async with await ipcpipes.connect(new / "s") as client, await listener.accept() as server:
            await client.send_all(b"x")
            assert await server.receive_some() == b"x"
    assert {path.read_text() for path in old.iterdir()} == {"another program's"}
    # The new place has a dead socket now, which does not block the name.
    async with await ipcpipes.listen(new / "s"):
        pass
