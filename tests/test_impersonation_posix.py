"""Servers that act as their clients, with clients that really are other users."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, blocking

from .acting import RunAs, acting, client
from .attackers import GROUP, OTHER, as_root
from .other_users import line, program, result

if sys.platform != "linux":
    pytest.skip("about threads of Linux with an identity of their own", allow_module_level=True)
assert sys.platform == "linux" or not TYPE_CHECKING


def identity() -> tuple[Any, ...]:
    """Returns the users, groups and capabilities of this thread."""
    status = Path("/proc/thread-self/status").read_text()
    capabilities = {
        words[0]: int(words[1], 16)
        for words in map(str.split, status.splitlines())
        if words[0] in ("CapEff:", "CapPrm:", "CapInh:", "CapAmb:")
    }
    return os.getresuid(), os.getresgid(), set(os.getgroups()), any(capabilities.values())


THE_CLIENT = ((OTHER,) * 3, (65534,) * 3, {7, GROUP}, False)

everywhere = pytest.mark.parametrize(
    ("driver", "door"),
    [(driver, door) for driver in ("trio", "blocking") for door in ("stream", "framed", "native")],
)
both = pytest.mark.parametrize("driver", ["trio", "blocking"])


@pytest.fixture
def where(short_tmp: Path) -> Path:
    short_tmp.chmod(0o711)
    return short_tmp / "service"


@as_root
@everywhere
async def test_one_thread_gets_the_whole_identity_of_the_client(
    where: Path, driver: str, door: str
) -> None:
    before = identity()

    async def act(run_as_client: RunAs) -> None:
        seen = []

        def look() -> tuple[Any, ...]:
            seen.append(threading.get_native_id())
            return identity()

        assert await run_as_client(look) == THE_CLIENT
        assert identity() == before
        assert await trio.to_thread.run_sync(identity) == before
        while Path(f"/proc/self/task/{seen[0]}").exists():  # the thread ends and is not reused
            await trio.sleep(0.001)

    await acting(where, act, driver=driver, door=door)


@as_root
@both
async def test_system_checks_access_as_for_the_client(where: Path, driver: str) -> None:
    ours, theirs = where.parent / "ours", where.parent / "theirs"
    for path, uid in ((ours, 0), (theirs, OTHER)):
        path.write_text(f"of {uid}")
        path.chmod(0o600)
        os.chown(path, uid, -1)
    room = where.parent / "room"
    room.mkdir()
    os.chown(room, OTHER, -1)

    def make() -> int:
        path = room / "made"
        path.write_text("x")
        found = path.stat()
        return found.st_uid

    async def act(run_as_client: RunAs) -> None:
        assert await run_as_client(theirs.read_text) == f"of {OTHER}"
        with pytest.raises(PermissionError):
            await run_as_client(ours.read_text)
        assert not await run_as_client(os.access, ours, os.R_OK), "access(2) asks the real user"
        assert await run_as_client(make) == OTHER
        assert ours.read_text() == "of 0"

    await acting(where, act, driver=driver)


@as_root
@both
async def test_function_cannot_return_to_the_server_identity(where: Path, driver: str) -> None:
    from ipcpipes._os.posix import calls as posix_calls

    def go_back() -> None:
        raise OSError(posix_calls.become_user(0, 0, ()), "no way")

    async def act(run_as_client: RunAs) -> None:
        with pytest.raises(OSError, match="no way") as caught:
            await run_as_client(go_back)
        assert caught.value.errno == 1, "EPERM"
        # A process that it starts has the identity of the client too.
        command = ["/usr/bin/id", "-ru"]
        found = await run_as_client(
            lambda: subprocess.run(command, capture_output=True, check=True, cwd="/").stdout
        )
        assert int(found) == OTHER

    await acting(where, act, driver=driver)


@as_root
@both
@pytest.mark.parametrize("level", ["anonymous", "identify", ""])
async def test_client_must_allow_impersonation(where: Path, driver: str, level: str) -> None:
    ran: list[int] = []

    async def act(run_as_client: RunAs) -> None:
        with pytest.raises(ipcpipes.ImpersonationRefused, match='impersonation="impersonate"'):
            await run_as_client(ran.append, 1)

    await acting(where, act, driver=driver, level=level)
    assert not ran


@as_root
async def test_delegate_level_allows_impersonation(where: Path) -> None:
    async def act(run_as_client: RunAs) -> None:
        assert await run_as_client(identity) == THE_CLIENT

    await acting(where, act, level="delegate")


@as_root
@both
async def test_exception_of_the_function_is_raised(where: Path, driver: str) -> None:
    class Wrong(BaseException):
        pass

    def fail() -> None:
        raise Wrong

    async def act(run_as_client: RunAs) -> None:
        with pytest.raises(Wrong):
            await run_as_client(fail)
        assert await run_as_client(identity) == THE_CLIENT

    await acting(where, act, driver=driver)


@as_root
async def test_started_function_is_waited_for_when_cancelled(where: Path) -> None:
    ran: list[str] = []
    go_on = threading.Event()

    def wait() -> str:
        ran.append("began")
        go_on.wait(30)
        return "ended"

    async def act(run_as_client: RunAs) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await run_as_client(ran.append, "never")
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def cancel() -> None:
                    while not ran:
                        await trio.sleep(0.001)
                    scope.cancel()
                    go_on.set()

                ran.append(await run_as_client(wait))
        assert ran == ["began", "ended"]

    await acting(where, act)


@as_root
async def test_run_as_client_is_a_checkpoint(where: Path) -> None:
    async def act(run_as_client: RunAs) -> None:
        with trio.testing.assert_checkpoints():
            await run_as_client(int)

    await acting(where, act)


@as_root
@both
async def test_fifty_concurrent_identities_do_not_mix(where: Path, driver: str) -> None:
    """Fifty clients at once, and threads of trio's pool between them."""
    everyone = [OTHER + number for number in range(50)]
    program_of_all = """
where, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
everyone = []
for number in range(count):
    os.seteuid(0)
    os.seteuid(first + number)
    everyone.append(blocking.connect(where, impersonation="impersonate"))
say("ready")
sys.stdin.read()
"""
    listen = ipcpipes.listen
    with trio.fail_after(60):
        async with await listen(where, access=AccessPolicy.everyone()) as listener:
            with subprocess.Popen(
                program(program_of_all, where, OTHER, 50),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as clients:
                found: list[tuple[int, int]] = []

                async def serve(stream: ipcpipes.Stream) -> None:
                    async with stream:
                        uid = stream.peer.uid
                        assert uid is not None
                        for _ in range(10):
                            found.append((uid, await stream.run_as_client(os.geteuid)))
                            found.append((0, await trio.to_thread.run_sync(os.geteuid)))

                async with trio.open_nursery() as nursery:
                    for _ in everyone:
                        nursery.start_soon(serve, await listener.accept())
                clients.kill()
    assert len(found) == 1000
    assert all(wanted == was for wanted, was in found)
    assert {wanted for wanted, _ in found} == {0, *everyone}


@as_root
def test_thread_loses_all_capabilities(where: Path) -> None:
    """The server is not root, and has CAP_SETUID, CAP_SETGID and CAP_DAC_OVERRIDE."""
    server = """
import ctypes, subprocess
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_KEEPCAPS, VERSION_3 = 8, 0x20080522
assert libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
become(65534)
bits = 1 << 6 | 1 << 7 | 1 << 1  # SETGID, SETUID, DAC_OVERRIDE
head = (ctypes.c_uint32 * 2)(VERSION_3, 0)
data = (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)
assert libc.capset(head, data) == 0
secret = sys.argv[2]
def look():
    return open("/proc/thread-self/status").read().split("CapEff:")[1].split()[0]
def read():
    try:
        return open(secret).read()
    except PermissionError:
        return "denied"
with blocking.listen(sys.argv[1], access=AccessPolicy.everyone()) as listener:
    say("ready")
    with listener.accept() as stream:
        say(int(look(), 16) == bits, read(), stream.run_as_client(os.geteuid),
            int(stream.run_as_client(look), 16), stream.run_as_client(read))
"""
    secret = where.parent / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    where.parent.chmod(0o777 | stat.S_ISVTX)
    with subprocess.Popen(program(server, where, secret), stdout=subprocess.PIPE) as process:
        assert line(process.stdout) == "ready"
        with client(where, "stream", OTHER, "impersonate"):
            assert line(process.stdout) == f"True secret {OTHER} 0 denied"


@as_root
def test_capabilities_are_lost_also_for_the_same_user(where: Path) -> None:
    """Server and client are the same user, and the server has CAP_DAC_OVERRIDE."""
    both_ends = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_KEEPCAPS, VERSION_3 = 8, 0x20080522
assert libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
become(65534)
bits = 1 << 1  # DAC_OVERRIDE
head = (ctypes.c_uint32 * 2)(VERSION_3, 0)
data = (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)
assert libc.capset(head, data) == 0
def look():
    return int(open("/proc/thread-self/status").read().split("CapEff:")[1].split()[0], 16)
with blocking.listen(sys.argv[1]) as listener:
    with blocking.connect(sys.argv[1], impersonation="impersonate"), listener.accept() as stream:
        say(look() == bits, stream.run_as_client(look), look() == bits)
"""
    where.parent.chmod(0o777 | stat.S_ISVTX)
    assert result(both_ends, where) == "True 0 True"


@as_root
def test_missing_privilege_is_named(where: Path) -> None:
    server = """
become(65534)
with blocking.listen(sys.argv[1], access=AccessPolicy.everyone()) as listener:
    say("ready")
    with listener.accept() as stream:
        try:
            stream.run_as_client(os.geteuid)
        except ipcpipes.ImpersonationRefused as error:
            say(error)
"""
    where.parent.chmod(0o777 | stat.S_ISVTX)
    with subprocess.Popen(program(server, where), stdout=subprocess.PIPE) as process:
        assert line(process.stdout) == "ready"
        with client(where, "stream", OTHER, "impersonate"):
            assert line(process.stdout) == (
                f"this process may not act as user {OTHER} (Operation not permitted); it needs "
                "CAP_SETUID and CAP_SETGID, which root has"
            )


@as_root
def test_same_user_needs_no_privilege(where: Path) -> None:
    both_ends = """
become(65534, 65534, [7])
with blocking.listen(sys.argv[1]) as listener:
    with blocking.connect(sys.argv[1], impersonation="impersonate"), listener.accept() as stream:
        say(stream.run_as_client(os.getresuid))
"""
    where.parent.chmod(0o777 | stat.S_ISVTX)
    assert result(both_ends, where) == "(65534, 65534, 65534)"


@as_root
def test_close_as_client_keeps_server_credentials(where: Path) -> None:
    """Closing a connection frees a place, and listen(2) is called again for it. listen(2) records
    the credentials of the server. In a thread that acts as a client, it must not record those of
    the client.
    """
    options: Any = {"access": AccessPolicy.everyone(), "max_instances": 2}
    with (
        blocking.listen(where, **options) as listener,
        client(where, "stream", OTHER, "impersonate"),
    ):
        stream = listener.accept(timeout=30)
        with stream, blocking.connect(where):
            other = listener.accept(timeout=30)
            stream.run_as_client(other.close)
            assert listener.connection_count == 1
            with blocking.connect(where, server=AccessPolicy.current_user()) as third:
                assert (third.peer.uid, third.peer.gid) == (0, os.getgid())


@both
async def test_client_end_cannot_run_as_client(endpoint: ipcpipes.Endpoint, driver: str) -> None:
    with pytest.raises(RuntimeError, match="for the server's end"):
        if driver == "trio":
            async with await ipcpipes.listen(endpoint):
                async with await ipcpipes.connect(endpoint) as stream:
                    await stream.run_as_client(print)
        else:
            with blocking.listen(endpoint), blocking.connect(endpoint) as other:
                other.run_as_client(print)


async def test_closed_stream_cannot_run_as_client(endpoint: ipcpipes.Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        async with await ipcpipes.connect(endpoint, impersonation="impersonate"):
            stream = await listener.accept()
            await stream.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await stream.run_as_client(print)


async def test_channel_over_foreign_stream_cannot_run_as_client() -> None:
    one, _ = trio.testing.memory_stream_pair()
    with pytest.raises(ipcpipes.NotSupported):
        await ipcpipes.MessageChannel(one).run_as_client(print)


@pytest.mark.parametrize("level", ["admin", 2, None])
async def test_invalid_levels_are_refused(endpoint: ipcpipes.Endpoint, level: Any) -> None:
    for connect in (ipcpipes.connect, ipcpipes.connect_messages):
        with pytest.raises(ValueError, match='must be "anonymous"'):
            await connect(endpoint, impersonation=level)
    with pytest.raises(ValueError, match='must be "anonymous"'):
        blocking.connect(endpoint, impersonation=level)


def test_interrupted_call_waits_for_its_thread(endpoint: ipcpipes.Endpoint) -> None:
    """The function has ended before the interrupt is raised."""
    ended = []
    began, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        go_on.wait(30)
        ended.append(True)

    def interrupt() -> None:
        began.wait(30)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        go_on.set()

    with blocking.listen(endpoint) as listener:
        with blocking.connect(endpoint, impersonation="impersonate"), listener.accept() as stream:
            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                stream.run_as_client(wait)
            assert ended == [True]
            go_on.set()
            thread.join()


def test_similar_addresses_do_not_allow_impersonation(endpoint: ipcpipes.Endpoint) -> None:
    """A client allows it by its source address; similar addresses do not."""
    import socket

    with blocking.listen(endpoint) as listener:
        for source in (
            b"\0ipcpipes-i012345",
            b"\0ipcpipes-i01234567",
            b"\0ipcpipes-i0123456\0",
            b"\0ipcpipes-a0123456",
            b"\0IPCPIPES-I0123456",
            b"\0ipcpipes-i01234=6",
        ):
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(source)
                one.connect(listener.address)
                with listener.accept() as stream, pytest.raises(ipcpipes.ImpersonationRefused):
                    stream.run_as_client(print)


@pytest.mark.parametrize("level", ["impersonate", "delegate"])
def test_address_of_impersonation_client_is_short(
    short_tmp: Path, level: Literal["impersonate", "delegate"]
) -> None:
    """.NET copies it into a buffer of the size of its own address, which has 18 bytes or more."""
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_tmp / "s"))
        server.listen()
        sources = set()
        for _ in range(20):
            with blocking.connect(short_tmp / "s", impersonation=level):
                connection, source = server.accept()
                connection.close()
                assert len(source) <= 18
                sources.add(source)
    assert len(sources) == 20
