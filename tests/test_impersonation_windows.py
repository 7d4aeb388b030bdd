"""The owners of pipes, and servers that act as their clients. Wine has only one user, so the tests
look at the tokens of threads.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint, Group, User, blocking

from .drivers import in_thread

if sys.platform != "win32":
    pytest.skip("about tokens and owners of pipes", allow_module_level=True)

from ipcpipes._ffi import lib as real
from ipcpipes._os import join_shared
from ipcpipes._os.windows import calls
from ipcpipes.security import compile_policy

SYSTEM, EVERYONE = "S-1-5-18", "S-1-1-0"
both = pytest.mark.parametrize("driver", ["trio", "blocking"])
RunAs = Callable[..., Awaitable[Any]]


def has_token() -> bool:
    """Returns whether this thread has a token of its own."""
    advapi32, kernel32 = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
    kernel32.GetCurrentThread.restype = ctypes.c_void_p
    token = ctypes.c_void_p()
    query, as_self = 0x8, True
    opened: int = advapi32.OpenThreadToken(
        ctypes.c_void_p(kernel32.GetCurrentThread()), query, as_self, ctypes.byref(token)
    )
    if opened:
        kernel32.CloseHandle(token)
    return bool(opened)


async def acting(
    endpoint: Endpoint, act: Callable[[RunAs], Awaitable[None]], driver: str, **options: Any
) -> None:
    with trio.fail_after(60):
        if driver == "trio":
            async with await ipcpipes.listen(endpoint) as listener:
                async with await ipcpipes.connect(endpoint, **options):
                    async with await listener.accept() as stream:
                        await act(stream.run_as_client)
            return
        with blocking.listen(endpoint) as other, blocking.connect(endpoint, **options):
            with other.accept(timeout=30) as accepted:
                await act(lambda *args: in_thread(accepted.run_as_client, *args))


@both
async def test_only_one_thread_acts_as_the_client(endpoint: Endpoint, driver: str) -> None:
    async def act(run_as_client: RunAs) -> None:
        assert await run_as_client(has_token)
        assert not has_token()
        assert not await trio.to_thread.run_sync(has_token)

    await acting(endpoint, act, driver, impersonation="impersonate")


@both
async def test_identity_is_reverted_after_an_error(
    endpoint: Endpoint, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reverted: list[int] = []
    revert = calls.revert

    def note() -> None:
        assert has_token()
        revert()
        assert not has_token()
        reverted.append(threading.get_ident())

    monkeypatch.setattr(calls, "revert", note)

    def fail() -> None:
        raise LookupError(threading.get_ident())

    async def act(run_as_client: RunAs) -> None:
        with pytest.raises(LookupError) as caught:
            await run_as_client(fail)
        assert reverted == [caught.value.args[0]]

    await acting(endpoint, act, driver, impersonation="impersonate")


@pytest.mark.wine_differs("every client lets its server act in its name")
@both
@pytest.mark.parametrize("level", ["anonymous", "identify"])
async def test_client_must_allow_impersonation(endpoint: Endpoint, driver: str, level: str) -> None:
    async def act(run_as_client: RunAs) -> None:
        with pytest.raises(ipcpipes.ImpersonationRefused):
            await run_as_client(print)

    await acting(endpoint, act, driver, impersonation=level)


@both
@pytest.mark.parametrize("code", [0, 1346, 1347, 1368, 5])
async def test_weak_token_is_refused_and_closed(
    endpoint: Endpoint, driver: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def client_token(handle: int) -> tuple[int, int, int]:
        if code:
            return code, 0, 0
        _, token, _ = look(handle)
        given.append(token)
        return 0, token, 1  # SecurityIdentification

    look = calls.client_token

    async def act(run_as_client: RunAs) -> None:
        monkeypatch.setattr(calls, "client_token", client_token)
        with pytest.raises(ipcpipes.ImpersonationRefused) as caught:
            await run_as_client(print)
        monkeypatch.undo()
        assert "\n" not in str(caught.value)
        for token in given:
            with pytest.raises(OSError, match=r".") as closed:
                calls.close(token)
            assert closed.value.winerror == 6, "ERROR_INVALID_HANDLE"

    await acting(endpoint, act, driver)


async def test_levels_map_to_the_system_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """CreateFileW takes them shifted among its FILE_FLAGs: SECURITY_IDENTIFICATION is 0x10000."""
    asked: list[int] = []
    opening = real.ipc_open

    class Lib:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def ipc_open(self, name: Any, direction: int, messages: bool, level: int) -> int:
            asked.append(level)
            return opening(name, direction, messages, level)

    monkeypatch.setattr(calls, "lib", Lib())
    levels: list[Any] = ["anonymous", "identify", "impersonate", "delegate"]
    for level in levels:
        with pytest.raises(ipcpipes.EndpointNotFound):
            await ipcpipes.connect("not-there", impersonation=level)
    with pytest.raises(ipcpipes.EndpointNotFound):
        await ipcpipes.connect("not-there")
    assert asked == [0, 1, 2, 3, 1]


@both
async def test_client_end_cannot_run_as_client(endpoint: Endpoint, driver: str) -> None:
    with pytest.raises(RuntimeError, match="for the server's end"):
        if driver == "trio":
            async with await ipcpipes.listen(endpoint):
                async with await ipcpipes.connect(endpoint) as stream:
                    await stream.run_as_client(print)
        else:
            with blocking.listen(endpoint), blocking.connect(endpoint) as other:
                other.run_as_client(print)


@contextmanager
def listening(endpoint: Endpoint) -> Iterator[blocking.Listener[blocking.Stream]]:
    with blocking.listen(endpoint) as listener:
        yield listener


async def test_pipe_is_owned_by_its_user(endpoint: Endpoint) -> None:
    me = calls.current_user_sid()
    with listening(endpoint) as listener, blocking.connect(endpoint) as stream:
        assert calls.owner(listener._waiting[0].number).sid == me
        assert calls.owner(stream._number).sid == me


@both
async def test_client_checks_the_owner_of_the_pipe(endpoint: Endpoint, driver: str) -> None:
    me = User(calls.current_user_sid())
    with listening(endpoint):
        for policy in (
            None,
            AccessPolicy.current_user(),
            AccessPolicy.everyone(),
            AccessPolicy([User(SYSTEM)]),
            AccessPolicy.everyone(deny=[User(SYSTEM)]),
        ):
            if driver == "trio":
                await (await ipcpipes.connect(endpoint, server=policy)).aclose()
            else:
                blocking.connect(endpoint, server=policy).close()
        for policy in (AccessPolicy(deny=[me]), AccessPolicy.everyone(deny=[me])):
            with pytest.raises(ipcpipes.UntrustedServer, match=str(me.account)):
                if driver == "trio":
                    await ipcpipes.connect(endpoint, server=policy)
                else:
                    blocking.connect(endpoint, server=policy)


async def test_pipe_of_another_user_is_refused_by_default(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wine has only one user, so the client pretends to be another one."""
    with listening(endpoint):
        address = calls.resolve(endpoint)
        monkeypatch.setattr(calls, "current_user_sid", lambda: "S-1-5-21-1-2-3-1001")
        monkeypatch.setattr(calls, "resolve", lambda _: address)
        with pytest.raises(ipcpipes.UntrustedServer):
            await ipcpipes.connect(endpoint)


async def test_server_policies_that_windows_cannot_check_raise(endpoint: Endpoint) -> None:
    for policy in (
        AccessPolicy([Group(EVERYONE)]),
        AccessPolicy.everyone(deny=[Group(EVERYONE)]),
        AccessPolicy.sddl("D:P(A;;FA;;;WD)"),
    ):
        with pytest.raises(ipcpipes.NotSupported):
            await ipcpipes.connect(endpoint, server=policy)


@both
async def test_server_identifies_client_by_its_token(endpoint: Endpoint, driver: str) -> None:
    me = calls.current_user_sid()
    if driver == "trio":
        async with await ipcpipes.listen(endpoint) as listener:
            async with await ipcpipes.connect(endpoint), await listener.accept() as stream:
                assert stream.peer.sid == me
    else:
        with blocking.listen(endpoint) as other, blocking.connect(endpoint):
            with other.accept() as accepted:
                assert accepted.peer.sid == me
                assert accepted.peer.executable is not None


@both
async def test_client_without_token_has_no_sid_yet(
    endpoint: Endpoint, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user of the process with that pid is not used instead, because it may be another process
    by now; the next read of ``peer`` asks again. (ERROR_CANNOT_IMPERSONATE: a client with dynamic
    tracking that has sent nothing.)
    """

    def check(stream: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(calls, "client_token", lambda _: (1368, 0, 0))
            assert (stream.peer.sid, stream.peer.user) == (None, None)
            assert stream.peer.pid is not None
        assert stream.peer.sid == calls.current_user_sid()

    if driver == "trio":
        async with await ipcpipes.listen(endpoint) as listener:
            async with await ipcpipes.connect(endpoint), await listener.accept() as stream:
                check(stream)
    else:
        with blocking.listen(endpoint) as other, blocking.connect(endpoint):
            with other.accept(timeout=30) as accepted:
                check(accepted)


async def test_sid_is_none_while_two_threads_use_the_connection(
    endpoint: Endpoint,
) -> None:
    me = calls.current_user_sid()
    with blocking.listen(endpoint) as listener, blocking.connect(endpoint):
        with listener.accept(timeout=30) as stream:
            turns = (stream._may_send, stream._may_receive)
            for side in turns:
                del side["turn"]
            assert stream.peer.sid is None
            for side in turns:
                side["turn"] = None
            assert stream.peer.sid == me


async def test_worker_refuses_a_name_that_another_user_took(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent has ended, and another user has taken the name."""
    permissions = compile_policy(AccessPolicy.current_user(), "duplex")
    stranger = ipcpipes.PeerIdentity(sid="S-1-5-21-1-2-3-1001", user="mallory")
    with listening(endpoint):
        async with join_shared(endpoint, None, permissions, 2):
            pass
        monkeypatch.setattr(calls, "owner", lambda _: stranger)
        with pytest.raises(ipcpipes.UntrustedServer, match="mallory"):
            join_shared(endpoint, None, permissions, 2)
