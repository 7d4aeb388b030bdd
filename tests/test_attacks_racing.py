"""Other users that race with a listener in a directory like /tmp gain nothing at any moment.

The kernel lets only the owner of a file and root remove or rename it there. So from bind to close
the name belongs to the listener, and clients connect to it. Before and after that, other users can
prevent it from listening, with an error each time. It does not remove, write or change any of their
files, except those that look like the remains of a dead server: a socket without a listener, and an
empty file in the place of the lock file. The socket file never has more rights than the policy
gives, so a user that watches for it cannot connect early.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Group

if sys.platform == "win32":
    pytest.skip("about files of other users", allow_module_level=True)

from .attackers import GROUP, as_root, attacker

pytestmark = as_root

SECONDS = 90
ROUNDS = 200

# Puts each kind of file at the path for a moment. Its live socket answers "wrong". Its regular file
# has a second name, by which the racer sees whether it was removed from the path, or changed.
RACER = """
path, victim = sys.argv[1:]
os.umask(0)
own = path + ".own"
mine = os.open(own, os.O_CREAT | os.O_RDWR, 0o600)
os.write(mine, b"racer")
before = os.fstat(mine)
server = socket.socket(socket.AF_UNIX)
server.bind(path + ".racer")
server.listen(100)
server.setblocking(False)
stolen = gone = placed = 0

def attempt(action, *arguments):
    try:
        action(*arguments)
        return True
    except OSError:
        return False

def is_roots(name):
    try:
        return os.lstat(name).st_uid == 0
    except OSError:
        return False

say("here")
while not told_to_stop():
    name = random.choice([path, path + ".lock"])
    kind = random.choice(["steal", "rename over", "link", "link", "symlink", "socket", "fifo"])
    if kind == "steal":
        if is_roots(name):
            # The racer puts no file there meanwhile, so whatever this removes belongs to root.
            stolen += attempt(os.unlink, name) or attempt(os.rename, name, name + ".taken")
    elif kind == "rename over":
        fresh = path + ".fresh"
        os.symlink(victim, fresh)
        if is_roots(name) and attempt(os.rename, fresh, name):
            os.unlink(name)  # the name had become free; otherwise a client would have missed it
        attempt(os.unlink, fresh)
    else:
        source = {"link": own, "socket": path + ".racer"}.get(kind)
        made = (
            attempt(os.symlink, victim, name) if kind == "symlink"
            else attempt(os.mkfifo, name, 0o666) if kind == "fifo"
            else attempt(os.link, source, name)
        )
        if made:
            placed += 1
            for _ in range(random.randrange(3)):
                if os.lstat(name).st_uid != os.getuid():
                    gone += 1
            if not attempt(os.unlink, name):
                gone += 1
    try:
        while True:
            client, _ = server.accept()
            attempt(client.sendall, b"wrong")
            client.close()
    except BlockingIOError:
        pass
after = os.fstat(mine)
changed = [
    name for name in ("st_mode", "st_uid", "st_gid", "st_size", "st_nlink")
    if getattr(after, name) != getattr(before, name)
]
say(placed, stolen, gone, *changed)
"""


async def test_racing_user_steals_and_loses_nothing(
    sticky: Path,
    short_tmp: Path,
) -> None:
    """Some listens fail, each with a specific error; a listener that succeeds gets its clients."""
    path, victim = sticky / "s", short_tmp / "victim"
    victim.write_text("precious")
    victim.chmod(0o600)
    before = victim.stat()
    errors: set[type[OSError]] = set()
    succeeded = 0
    with trio.fail_after(SECONDS):
        with attacker(RACER, path, victim) as racer:
            assert await trio.to_thread.run_sync(racer.hear) == "here"
            while succeeded < ROUNDS:
                try:
                    listener = await ipcpipes.listen(path)
                except OSError as error:
                    errors.add(type(error))
                    continue
                succeeded += 1
                async with listener, await ipcpipes.connect(path) as client:
                    async with await listener.accept() as server:
                        await server.send_all(b"right")
                        assert await client.receive_some() == b"right"
            racer.say("stop")
            placed, stolen, gone, *changed = (await trio.to_thread.run_sync(racer.hear)).split()
    assert int(placed) > 0, "the racer placed files"
    assert (stolen, gone, changed) == ("0", "0", [])
    assert errors <= {
        ipcpipes.EndpointDenied,
        ipcpipes.EndpointInUse,
        ipcpipes.NotAnEndpoint,
    }
    after = victim.stat()
    assert victim.read_text() == "precious"
    assert (after.st_ino, after.st_mode, after.st_uid, after.st_gid, after.st_mtime_ns) == (
        before.st_ino,
        before.st_mode,
        before.st_uid,
        before.st_gid,
        before.st_mtime_ns,
    )


WATCHER = """
path, mode, group = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
looks = wider = connected = 0

def is_too_early(found):  # rights for a group before it is the right group
    return stat.S_IMODE(found.st_mode) & 0o070 and found.st_gid != group

say("here")
while not told_to_stop():
    for _ in range(200):
        try:
            found = os.stat(path)
        except OSError:
            continue
        looks += 1
        if stat.S_IMODE(found.st_mode) & ~mode:
            wider += 1
        if is_too_early(found):
            # Linux reads the group before the mode, without a lock (generic_fillattr), so one look
            # can show the old group with the new mode. Two looks cannot.
            try:
                again = os.stat(path)
            except OSError:
                continue
            if again.st_ino == found.st_ino and is_too_early(again):
                wider += 1
    with socket.socket(socket.AF_UNIX) as s:
        connected += s.connect_ex(path) == 0
say(looks, wider, connected)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a socket has no mode before bind")
@pytest.mark.parametrize(
    ("policy", "mode", "group"),
    [(AccessPolicy.current_user(), 0o600, 0), (AccessPolicy([Group(GROUP)]), 0o660, GROUP)],
    ids=["one user", "one group"],
)
async def test_socket_file_never_has_more_rights_than_the_policy(
    sticky: Path,
    policy: AccessPolicy,
    mode: int,
    group: int,
) -> None:
    """A user that watches the file cannot connect, whatever the umask is."""
    path = sticky / "s"
    old = os.umask(0)
    try:
        with trio.fail_after(SECONDS):
            with attacker(WATCHER, path, str(mode), str(group)) as watcher:
                assert await trio.to_thread.run_sync(watcher.hear) == "here"
                for _ in range(5 * ROUNDS):
                    async with await ipcpipes.listen(path, access=policy):
                        pass
                watcher.say("stop")
                said = (await trio.to_thread.run_sync(watcher.hear)).split()
    finally:
        os.umask(old)
    looks, wider, connected = map(int, said)
    assert looks > 0, "the watcher has seen the file"
    assert (wider, connected) == (0, 0)
