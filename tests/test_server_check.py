"""The client checks the user of the server before it sends anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint, Group, User, blocking, rpc
from ipcpipes.rpc import blocking as rpc_blocking

from .attackers import GROUP, OTHER, as_root
from .other_users import line, result, running

if sys.platform == "win32":
    pytest.skip("about credentials of Unix sockets", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING

# Listens as another user, also in directories that only this user can write in, and prints what
# each client sent.
SQUATTER = """
where, uid, gid, packets, *groups = sys.argv[1:]
listener = socket.socket(
    socket.AF_UNIX, socket.SOCK_SEQPACKET if packets == "True" else socket.SOCK_STREAM
)
os.umask(0)
listener.bind(where)
become(int(uid), int(gid), [int(group) for group in groups])
listener.listen()
say("ready")
while True:
    client, _ = listener.accept()
    client.settimeout(10)
    found = b""
    try:
        while data := client.recv(4096):
            found += data
    except ConnectionResetError:
        pass
    say("got", found)
"""


class Asked(rpc.Interface, uuid="0a6bd8ea-1a4e-4d0e-9dd0-0c5a1f6bbd0f", version=(1, 0)):
    """An interface to call."""

    @rpc.operation
    async def anything(self) -> None: ...


async def stream(endpoint: Any, **options: Any) -> None:
    await (await ipcpipes.connect(endpoint, **options)).aclose()


async def messages(endpoint: Any, **options: Any) -> None:
    await (await ipcpipes.connect_messages(endpoint, **options)).aclose()


async def native(endpoint: Any, **options: Any) -> None:
    await (await ipcpipes.connect_messages(endpoint, framing=ipcpipes.NATIVE, **options)).aclose()


async def call(endpoint: Any, **options: Any) -> None:
    async with rpc.connect(Asked, endpoint, **options):
        pass


async def blocking_stream(endpoint: Any, **options: Any) -> None:
    blocking.connect(endpoint, **options).close()


async def blocking_messages(endpoint: Any, **options: Any) -> None:
    blocking.connect_messages(endpoint, **options).close()


async def blocking_call(endpoint: Any, **options: Any) -> None:
    with rpc_blocking.connect(Asked, endpoint, **options):
        pass


DOORS = [stream, messages, native, call, blocking_stream, blocking_messages, blocking_call]
Door = Callable[..., Any]


@pytest.fixture
def where(short_tmp: Path) -> Path:
    short_tmp.chmod(0o711)
    return short_tmp / "service"


@as_root
@pytest.mark.parametrize("door", DOORS)
async def test_squatter_of_plain_name_receives_nothing(door: Door, endpoint: Endpoint) -> None:
    # Listening makes the directory of plain names.
    async with await ipcpipes.listen(endpoint) as listener:
        where = listener.address
    with running(SQUATTER, where, OTHER, 65534, door is native) as squatter:
        with pytest.raises(ipcpipes.UntrustedServer, match=f"unknown user \\({OTHER}\\)") as caught:
            await door(endpoint)
        assert line(squatter.stdout) == "got b''"
    assert isinstance(caught.value, ipcpipes.EndpointDenied)
    assert "\n" not in str(caught.value)
    os.unlink(where)


@as_root
@pytest.mark.parametrize("door", [stream, blocking_stream])
async def test_squatter_of_path_receives_nothing_if_checked(door: Door, where: Path) -> None:
    with running(SQUATTER, where, OTHER, 65534, False) as squatter:
        with pytest.raises(ipcpipes.UntrustedServer):
            await door(where, server=AccessPolicy.current_user())
        assert line(squatter.stdout) == "got b''"
        # Without server=, a path may belong to another user.
        await door(where)
        assert line(squatter.stdout) == "got b''"


@as_root
async def test_connect_does_not_wait_for_a_squatter_to_end(where: Path) -> None:
    with running(SQUATTER, where, OTHER, 65534, False), trio.fail_after(30):
        with pytest.raises(ipcpipes.UntrustedServer):
            await ipcpipes.connect(where, wait=3600, server=AccessPolicy.current_user())


@as_root
@pytest.mark.parametrize(
    ("policy", "trusted"),
    [
        (AccessPolicy.current_user(), False),
        (AccessPolicy.everyone(), True),
        (AccessPolicy.everyone(deny=[User(OTHER)]), False),
        (AccessPolicy.everyone(deny=[User("nobody")]), True),
        (AccessPolicy([User(OTHER)]), True),
        (AccessPolicy([User("nobody"), Group(7)]), False),
        (AccessPolicy([Group(GROUP)]), True),
        (AccessPolicy([User(OTHER)], deny=[Group(GROUP)]), False),
    ],
    ids=repr,
)
async def test_policy_decides_which_server_is_accepted(
    where: Path, policy: AccessPolicy, trusted: bool
) -> None:
    with running(SQUATTER, where, OTHER, 65534, False, 8, GROUP):
        for door in (stream, blocking_stream):
            if trusted:
                await door(where, server=policy)
            else:
                with pytest.raises(ipcpipes.UntrustedServer):
                    await door(where, server=policy)


@as_root
async def test_root_may_be_the_server_unless_denied(where: Path) -> None:
    client = f"""
become({OTHER})
for policy in (AccessPolicy.current_user(), AccessPolicy.everyone(deny=[User("root")])):
    try:
        blocking.connect(sys.argv[1], server=policy).close()
    except ipcpipes.UntrustedServer as error:
        say("refused", "root (0)" in str(error))
    else:
        say("taken")
"""
    async with await ipcpipes.listen(where, access=AccessPolicy.everyone()):
        assert (await trio.to_thread.run_sync(result, client, where)).split("\n") == [
            "taken",
            "refused True",
        ]


@as_root
async def test_listening_process_counts_and_not_the_file_owner(where: Path) -> None:
    """The server is refused although the socket file belongs to this user."""
    with running(SQUATTER, where, OTHER, 65534, False):
        assert where.stat().st_uid == os.geteuid()
        with pytest.raises(ipcpipes.UntrustedServer):
            await stream(where, server=AccessPolicy.current_user())


@pytest.mark.parametrize("door", DOORS)
async def test_invalid_server_policies_are_refused(door: Door, endpoint: Endpoint) -> None:
    for wrong, error in (
        ("me", TypeError),
        (AccessPolicy([User(0, "read")]), ValueError),
        (AccessPolicy.everyone(rights="write"), ValueError),
        (AccessPolicy.everyone(remote=True), ValueError),
        (AccessPolicy([User("nobody-of-that-name")]), ipcpipes.UnknownAccount),
        (AccessPolicy.sddl("D:P(A;;FA;;;WD)"), ipcpipes.NotSupported),
    ):
        with pytest.raises(error):
            await door(endpoint, server=wrong)


async def test_server_check_of_inherited_endpoint_is_refused() -> None:
    program = """
import ipcpipes, socket
from ipcpipes import blocking, AccessPolicy
left, right = socket.socketpair()
endpoint = ipcpipes.Endpoint.inherited(str(left.fileno()))
try:
    blocking.connect(endpoint, server=AccessPolicy.current_user())
except ipcpipes.NotSupported as error:
    print("only the parent of this process" in str(error))
"""
    found = await trio.run_process([sys.executable, "-c", program], capture_stdout=True)
    assert found.stdout == b"True\n"


@as_root
def test_refused_server_leaves_nothing_open(where: Path) -> None:
    with running(SQUATTER, where, OTHER, 65534, False):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            with pytest.raises(ipcpipes.UntrustedServer):
                blocking.connect(where, server=AccessPolicy.current_user())
        assert len(os.listdir("/proc/self/fd")) == before


@as_root
def test_command_reports_untrusted_server_in_one_line(endpoint: Endpoint) -> None:
    with blocking.listen(endpoint) as listener:
        where = listener.address
    with running(SQUATTER, where, OTHER, 65534, False):
        found = subprocess.run(
            [sys.executable, "-m", "ipcpipes", "call", endpoint.name],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    os.unlink(where)
    assert found.returncode != 0
    assert "is served by unknown user (54321)" in found.stderr
    assert len(found.stderr.strip().split("\n")) == 1
