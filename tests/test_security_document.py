"""The defaults in docs/security.md are those of the code."""

from __future__ import annotations

import dataclasses
import inspect
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint, blocking, opening, rpc
from ipcpipes.authentication.challenge import DEFAULT_SECONDS
from ipcpipes.rpc import blocking as rpc_blocking
from ipcpipes.rpc.core import exceptions
from ipcpipes.security import compile_policy, server

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "security.md"

if not DOCUMENT.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)

TEXT = DOCUMENT.read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """Returns the rows of the table below a heading, without its head."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


DEFAULTS = {row[0]: row[1] for row in rows("The defaults")}


def default_of(name: str, *functions: Callable[..., Any]) -> Any:
    """Returns the default of a parameter, which must be the same in all these functions."""
    found = [inspect.signature(one).parameters[name].default for one in functions]
    assert found.count(found[0]) == len(found), functions
    return found[0]


LISTEN: tuple[Callable[..., Any], ...] = (
    ipcpipes.listen,
    ipcpipes.listen_messages,
    blocking.listen,
    blocking.listen_messages,
)
SERVE: tuple[Callable[..., Any], ...] = (
    ipcpipes.serve,
    ipcpipes.serve_messages,
    rpc.serve,
    rpc_blocking.serve,
)
CONNECT: tuple[Callable[..., Any], ...] = (
    ipcpipes.connect,
    ipcpipes.connect_messages,
    rpc.connect,
    blocking.connect,
    blocking.connect_messages,
    rpc_blocking.connect,
)
CHANNELS: tuple[Callable[..., Any], ...] = (
    ipcpipes.connect_messages,
    ipcpipes.listen_messages,
    ipcpipes.serve_messages,
    ipcpipes.MessageChannel,
    blocking.connect_messages,
    blocking.listen_messages,
    blocking.MessageChannel,
)
CALLS = (rpc.serve, rpc_blocking.serve)
NONE = {None: "none"}
PARAMETERS = {
    "what a server may do with the client's identity: `connect(impersonation=)`": (
        f'`"{default_of("impersonation", *CONNECT)}"`'
    ),
    "clients that wait to be accepted: `listen(backlog=)`": str(
        default_of("backlog", *LISTEN, *SERVE)
    ),
    "connections at one time: `listen(max_instances=)`": (
        {None: "no limit"}[default_of("max_instances", *LISTEN, *SERVE)]
    ),
    "largest message: `LengthPrefixed(max_size=)`, `NATIVE`": (
        f"{ipcpipes.LengthPrefixed().max_size:,}"
    ),
    "largest line: `Lines(max_size=)`": f"{ipcpipes.Lines().max_size:,}",
    "largest body: `ContentLength(max_size=)`": f"{ipcpipes.ContentLength().max_size:,}",
    "descriptors that a message may bring: `max_descriptors=`": str(
        default_of("max_descriptors", *CHANNELS)
    ),
    "largest arguments of a call: `rpc.serve(max_frame=)`": f"{default_of('max_frame', *CALLS):,}",
    "how far a pipe of a call may run ahead: `rpc.serve(credit=)`": (
        f"{default_of('credit', *CALLS):,}"
    ),
    "calls open on one connection: `rpc.serve(max_calls=)`": f"{default_of('max_calls', *CALLS):,}",
    "tracebacks to clients: `rpc.serve(tracebacks=)`": f"`{default_of('tracebacks', *CALLS)}`",
    "a list of the operations: `rpc.serve(introspection=)`": (
        f"`{default_of('introspection', *CALLS)}`"
    ),
    "shared secret: `authkey=`": NONE[default_of("authkey", *CONNECT, *SERVE)],
    "time to prove the shared secret": f"{DEFAULT_SECONDS:g} s",
}
# Rows that tests of their own check.
TESTED_BELOW = {
    "which users may connect: `listen(access=)`",
    "which users may serve a plain name: `connect(name, server=)`",
    "which users may serve any other endpoint: `connect(path, server=)`",
    "mode of a socket file",
    "mode of the directory of plain names",
    "access list of a pipe",
    "clients on other machines (Windows)",
    "a name that is taken",
    "descriptors and handles in children",
    "what a client gets of an exception of a manager",
}


def test_every_default_is_tested() -> None:
    assert set(DEFAULTS) == set(PARAMETERS) | TESTED_BELOW


@pytest.mark.parametrize("what", PARAMETERS)
def test_defaults_of_parameters(what: str) -> None:
    assert DEFAULTS[what] == PARAMETERS[what]


def test_limits_of_what_a_client_gets_of_an_exception() -> None:
    # tests/test_rpc_faults.py tests what is sent.
    assert (exceptions.MOST_EXCEPTIONS, exceptions.MOST_TEXT) == (32, 65_536)


def test_native_messages_have_the_same_limit() -> None:
    assert ipcpipes.NATIVE.max_size == ipcpipes.LengthPrefixed().max_size


async def test_default_access_policy(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DEFAULTS["which users may connect: `listen(access=)`"] == "`AccessPolicy.current_user()`"
    assert default_of("access", *LISTEN, *SERVE) is None
    asked: list[AccessPolicy] = []

    def note(policy: AccessPolicy, kind: Any) -> Any:
        asked.append(policy)
        return compile_policy(policy, kind)

    monkeypatch.setattr(opening, "compile_policy", note)
    async with await ipcpipes.listen(endpoint):
        pass
    assert asked == [AccessPolicy.current_user()]


def servers() -> list[Any]:
    """What a client is told about a server: this user, an administrator, and another user."""
    if sys.platform == "win32":
        from ipcpipes._os.windows import calls

        return [calls.current_user_sid(), "S-1-5-18", "S-1-5-21-1-2-3-1001"]
    from ipcpipes._os.posix import calls as posix_calls

    return [posix_calls.Credentials(None, uid, 0) for uid in (os.geteuid(), 0, 54_321)]


def test_default_server_policy() -> None:
    assert default_of("server", *CONNECT) is None
    by_default, as_written = (
        server.server_check(Endpoint.named("x"), policy)
        for policy in (None, AccessPolicy.current_user())
    )
    assert by_default is not None
    assert as_written is not None
    answers = [by_default(one) for one in servers()]
    assert answers == [as_written(one) for one in servers()]
    assert answers[0]
    assert not answers[2]
    assert DEFAULTS["which users may serve a plain name: `connect(name, server=)`"] == (
        "`AccessPolicy.current_user()`"
    )
    for other in (Endpoint.path("/x"), Endpoint.abstract("x"), Endpoint.dotnet("x")):
        assert server.server_check(other, None) is None
    assert DEFAULTS["which users may serve any other endpoint: `connect(path, server=)`"] == (
        "any user"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="about files")
async def test_modes_of_socket_files_and_directories(endpoint: Endpoint) -> None:
    before = os.umask(0)
    try:
        async with await ipcpipes.listen(endpoint) as listener:
            file = Path(listener.address)
            modes = {
                "mode of a socket file": file.stat().st_mode,
                "mode of the directory of plain names": file.parent.stat().st_mode,
            }
    finally:
        os.umask(before)
    for what, mode in modes.items():
        assert DEFAULTS[what] == f"`{stat.S_IMODE(mode):04o}`"


@pytest.mark.skipif(sys.platform != "win32", reason="about pipes")
async def test_access_list_of_pipes(endpoint: Endpoint) -> None:
    if sys.platform == "win32":
        from ipcpipes._os.windows import calls as windows_calls

        permissions = compile_policy(AccessPolicy.current_user(), "duplex")
        text = permissions.sddl.replace(windows_calls.current_user_sid(), "YOU")
        assert DEFAULTS["access list of a pipe"] == f"`{text}`"


def test_remote_clients_are_refused_by_default() -> None:
    assert DEFAULTS["clients on other machines (Windows)"] == "refused"
    assert not AccessPolicy.current_user().remote


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
async def test_name_in_use_is_an_error(endpoint: Endpoint) -> None:
    assert DEFAULTS["a name that is taken"] == "an error"
    async with await ipcpipes.listen(endpoint):
        with pytest.raises(ipcpipes.EndpointInUse):
            await ipcpipes.listen(endpoint)


async def test_children_inherit_nothing(endpoint: Endpoint) -> None:
    assert DEFAULTS["descriptors and handles in children"] == "not inherited"
    async with await ipcpipes.listen(endpoint) as listener:
        async with await ipcpipes.connect(endpoint) as stream, await listener.accept() as accepted:
            for one in (stream, accepted):
                if sys.platform == "win32":
                    assert not os.get_handle_inheritable(one._number)
                else:
                    assert not os.get_inheritable(one._number)
            if sys.platform != "win32":
                assert not os.get_inheritable(listener._fd)


def test_every_field_of_peer_is_documented() -> None:
    fields = {field.name for field in dataclasses.fields(ipcpipes.PeerIdentity)}
    said = rows("Identify the peer")
    assert {name.strip("`") for row in said for name in row[0].split(", ")} == fields
