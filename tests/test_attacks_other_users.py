"""Other users that try to connect: they get nothing, it is logged, and other clients are served."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint, Group, User
from ipcpipes.testing import unique_endpoint

if sys.platform == "win32":
    pytest.skip("about other users of Unix sockets", allow_module_level=True)

from .attackers import GROUP, NO_GROUP, OTHER, as_root, attacker, what_is_said

pytestmark = as_root

SECONDS = 60
SECRET = b"for us alone"

# Connects, sends, and notes the answer, until it is told to stop. "@" stands for the NUL of an
# abstract name, because arguments cannot contain NULs.
INTRUDER = """
where = sys.argv[1].replace("@", chr(0))
say("here")
answers, tries = set(), 0
while not (tries and told_to_stop()):
    tries += 1
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        try:
            s.connect(where)
            s.sendall(b"let me in")
            answers.add(s.recv(100).decode() or "ended")
        except OSError as error:
            # If the server closes without reading, the client gets a reset.
            answers.add(type(error).__name__)
say(tries, *answers)
"""
NOTHING = {"ended", "ConnectionResetError", "BrokenPipeError", "BlockingIOError"}
# Prints what a client receives.
ASK = """
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(30)
    s.connect(sys.argv[1].replace("@", chr(0)))
    try:
        say(s.recv(100).decode() or "ended")
    except ConnectionResetError:
        say("ended")
"""


@asynccontextmanager
async def serving(where: Endpoint, access: AccessPolicy | None) -> AsyncIterator[str]:
    """Runs a server that sends its secret to each client that it admits; yields its address."""

    async def tell(stream: ipcpipes.abc.ByteStream) -> None:
        await stream.send_all(SECRET)

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(partial(ipcpipes.serve, tell, where, access=access))
            yield listener.address
            nursery.cancel_scope.cancel()


async def is_told(where: Endpoint) -> bytes:
    # The attackers may fill the queue for a moment.
    async with await ipcpipes.connect(where, wait=SECONDS) as client:
        return await client.receive_some()


@pytest.fixture(
    params=[
        "path",
        pytest.param(
            "abstract",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's"),
        ),
    ]
)
def open_place(request: pytest.FixtureRequest, short_tmp: Path) -> Endpoint:
    """An endpoint that other users can connect to when the policy names a user."""
    short_tmp.chmod(0o711)
    if request.param == "path":
        return Endpoint.path(short_tmp / "s")
    return Endpoint.abstract(unique_endpoint().name)


async def test_denied_user_gets_nothing_and_others_are_served(
    open_place: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ipcpipes")
    async with serving(open_place, AccessPolicy([User("daemon")])) as address:
        with attacker(INTRUDER, address) as intruder:
            assert await trio.to_thread.run_sync(intruder.hear) == "here"
            for _ in range(50):
                assert await is_told(open_place) == SECRET
            while not caplog.records:  # its first try may be still to come
                await trio.sleep(0.01)
            intruder.say("stop")
            tries, *answers = (await trio.to_thread.run_sync(intruder.hear)).split()
    assert int(tries) >= 1
    assert set(answers) <= NOTHING
    for record in caplog.records:
        assert record.levelno == logging.WARNING
        assert record.exc_info is None
        assert f"turned away user {OTHER}, process {intruder.pid}" in record.getMessage()


async def test_other_user_cannot_stat_a_plain_name(endpoint: Endpoint) -> None:
    program = (
        INTRUDER
        + """
try:
    os.stat(where)
except OSError as error:
    say(type(error).__name__)
"""
    )
    async with serving(endpoint, None) as address:
        with attacker(program, address) as intruder:
            assert await trio.to_thread.run_sync(intruder.hear) == "here"
            assert await is_told(endpoint) == SECRET
            intruder.say("stop")
            answers = await trio.to_thread.run_sync(what_is_said, intruder)
    assert answers[0].split()[1:] == ["PermissionError"]
    assert answers[1] == "PermissionError"


async def test_root_of_own_user_namespace_is_denied(
    short_tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In its namespace the client has uid 0, and root is always admitted; but it is denied as the
    user that it is outside.
    """
    short_tmp.chmod(0o711)
    program = f"""
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, so that this user owns /proc/self
if libc.unshare(0x10000000):  # CLONE_NEWUSER
    say("no namespace")
    sys.exit()
maps = dict(setgroups="deny", uid_map="0 {OTHER} 1", gid_map="0 {NO_GROUP} 1")
try:
    for name, text in maps.items():
        with open("/proc/self/" + name, "w") as file:
            file.write(text)
except PermissionError:
    say("no namespace")  # AppArmor forbids it (Ubuntu 24.04)
    sys.exit()
assert os.geteuid() == 0
"""
    where = Endpoint.path(short_tmp / "s")
    async with serving(where, AccessPolicy([User("daemon")])) as address:
        with attacker(program + ASK, address) as intruder:
            (said,) = await trio.to_thread.run_sync(what_is_said, intruder)
    if said == "no namespace":
        pytest.skip("ordinary users of this system cannot make user namespaces")
    assert said == "ended"
    assert f"user {OTHER}, " in caplog.text


def become(uid: int, groups: str = "[]") -> str:
    """Returns a program that becomes this user; a container may not have all user ids."""
    return f"""
try:
    become({uid}, {NO_GROUP}, {groups})
except OSError:
    say("no such user here")
    sys.exit()
"""


async def check_told(address: str, becoming: str, answer: str) -> None:
    with attacker(becoming + ASK, address, uid=0, gid=0) as client:
        said = await trio.to_thread.run_sync(what_is_said, client)
    if said == ["no such user here"]:
        pytest.skip("root of this container cannot become every user")
    assert said == [answer]


@pytest.mark.parametrize("uid", [1, 2**31 - 1, 2**31, 2**32 - 2])
async def test_user_ids_at_the_limits_are_distinguished(short_tmp: Path, uid: int) -> None:
    """None of them is taken for root, for this user, or for the next number."""
    short_tmp.chmod(0o711)
    where = Endpoint.path(short_tmp / "s")
    for allowed, answer in ((uid, SECRET.decode()), (uid - 1, "ended")):
        if allowed == 0:
            continue
        async with serving(where, AccessPolicy([User(allowed), User(7)])) as address:
            await check_told(address, become(uid), answer)


@pytest.mark.parametrize(
    ("policy", "answer"),
    [
        (AccessPolicy([User(7), Group(GROUP)]), SECRET.decode()),
        (AccessPolicy.everyone(deny=[Group(GROUP)]), "ended"),
    ],
    ids=["allowed", "denied"],
)
async def test_last_of_65536_groups_counts(
    short_tmp: Path, policy: AccessPolicy, answer: str
) -> None:
    """The last of 65,536 groups (NGROUPS_MAX) counts as a single one does."""
    short_tmp.chmod(0o711)
    groups = f"[*range(2_000_000, 2_065_535), {GROUP}]"
    where = Endpoint.path(short_tmp / "s")
    async with serving(where, policy) as address:
        await check_told(address, become(OTHER, groups), answer)


async def test_data_of_denied_clients_is_dropped(short_tmp: Path) -> None:
    """The next admitted client does not get their data, and they do not take its place."""
    short_tmp.chmod(0o711)
    where = short_tmp / "s"
    async with await ipcpipes.listen(
        where, access=AccessPolicy([User("daemon")]), max_instances=1
    ) as listener:
        program = """
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"poison")
say("sent")
hear()
"""
        with attacker(program, where) as intruder:
            assert await trio.to_thread.run_sync(intruder.hear) == "sent"
            async with trio.open_nursery() as nursery:
                accepted: list[ipcpipes.abc.ByteStream] = []

                async def accept() -> None:
                    accepted.append(await listener.accept())

                nursery.start_soon(accept)
                async with await ipcpipes.connect(where, wait=SECONDS) as client:
                    await client.send_all(b"x")
                    while not accepted:
                        await trio.sleep(0.001)
                    async with accepted[0] as server:
                        assert await server.receive_some() == b"x"


@as_root
def test_unmapped_user_cannot_listen_on_abstract_name(short_tmp: Path) -> None:
    """In a user namespace that does not map this user, every unmapped user looks like this one.
    Listening on an abstract name is an error then; a path, which has permissions, works.
    """
    short_tmp.chmod(0o1777)
    found = subprocess.run(
        [sys.executable, "-c", _UNMAPPED, short_tmp / "service"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if found.stdout == "no user namespaces\n":
        pytest.skip("ordinary users of this machine cannot make user namespaces")
    assert found.returncode == 0, found.stderr
    assert "the kernel shows users from outside as this user (65534)" in found.stdout
    assert found.stdout.endswith("listens\n")


_UNMAPPED = """
import ctypes, os, sys, trio._core._run, ipcpipes
from ipcpipes import blocking
os.setgroups([]); os.setgid(54323); os.setuid(54323)
new_user = 0x10000000
if ctypes.CDLL(None).unshare(new_user) != 0:
    print("no user namespaces")
    sys.exit()
try:
    blocking.listen(ipcpipes.Endpoint.abstract("ipcpipes-test-unmapped"))
except ipcpipes.NotSupported as error:
    print(error)
with blocking.listen(sys.argv[1]):
    print("listens")
"""
