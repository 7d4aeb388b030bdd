"""Other users with write access to the directory exchange the files that root makes there.

A directory that a group can write in is allowed: its members may put sockets of their own there.
But they must not get root's rights over other files of root. A file that they exchange with the
socket, at the moment when the socket gets its mode or is removed, stays unchanged.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ipcpipes
from ipcpipes import AccessPolicy, Group, blocking

if sys.platform != "linux":
    pytest.skip("exchanges files with renameat2(2)", allow_module_level=True)

from .attackers import GROUP, as_root, attacker

pytestmark = as_root

ROUNDS = 500

EXCHANGER = """
path, other = (os.fsencode(name) for name in sys.argv[1:])
exchange = ctypes.CDLL(None).renameat2
say("here")
done = 0
while not told_to_stop():
    for _ in range(500):
        done += exchange(-100, path, -100, other, 2) == 0  # AT_FDCWD, RENAME_EXCHANGE
say(done)
"""


@pytest.fixture
def shared(short_tmp: Path) -> Path:
    """A directory of root in which a group may write."""
    short_tmp.chmod(0o711)
    directory = short_tmp / "d"
    directory.mkdir()
    os.chown(directory, 0, GROUP)
    directory.chmod(0o770)
    return directory


@contextmanager
def unchanged(victim: Path) -> Iterator[None]:
    """Checks that the file is unchanged, wherever below its directory it is afterwards."""
    before = victim.lstat()
    yield
    after = [each.lstat() for each in victim.parent.rglob("*")]
    (found,) = [each for each in after if each.st_ino == before.st_ino]
    assert stat.filemode(found.st_mode) == stat.filemode(before.st_mode)
    assert (found.st_uid, found.st_gid, found.st_nlink) == (before.st_uid, before.st_gid, 1)


@pytest.mark.parametrize("target", ["file", "live socket"])
@pytest.mark.parametrize(
    "policy",
    [AccessPolicy.everyone(), AccessPolicy([Group(GROUP)]), AccessPolicy.current_user()],
    ids=["everyone", "a group", "one user"],
)
def test_file_exchanged_with_the_socket_is_unchanged(
    shared: Path, target: str, policy: AccessPolicy
) -> None:
    path, victim = shared / "s", shared / "victim"
    with socket.socket(socket.AF_UNIX) as live:
        if target == "file":
            victim.write_text("precious")
        else:
            live.bind(str(victim))
            live.listen(1)
        victim.chmod(0o600)
        old = os.umask(0o077)
        errors: set[type[OSError]] = set()
        try:
            with unchanged(victim), attacker(EXCHANGER, path, victim, gid=GROUP) as exchanger:
                assert exchanger.hear() == "here"
                for _ in range(ROUNDS):
                    try:
                        blocking.listen(path, access=policy).close()
                    except ipcpipes.errors.EndpointError as error:
                        errors.add(type(error))
                exchanger.say("stop")
                assert int(exchanger.hear()) > 0, "files were exchanged"
        finally:
            os.umask(old)
    assert errors <= {
        ipcpipes.EndpointInUse,
        ipcpipes.NotAnEndpoint,
        ipcpipes.UnsafeDirectory,
        ipcpipes.errors.EndpointError,
    }
