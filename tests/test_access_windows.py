"""The security descriptors of pipes, read back, because Wine stores but does not enforce them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint, Group, User, blocking

if sys.platform != "win32":
    pytest.skip("about security descriptors", allow_module_level=True)

from ipcpipes._ffi import lib as real
from ipcpipes._os.windows import calls
from ipcpipes.security import server_check

# SIDs that every machine has, and their letters in SDDL ("SID Strings").
USERS, GUESTS, SYSTEM = "S-1-5-32-545", "S-1-5-32-546", "S-1-5-18"


async def descriptor(endpoint: Endpoint, policy: AccessPolicy, **options: Any) -> str:
    """Returns the descriptor of a listener with this policy; both drivers have the same."""
    async with await ipcpipes.listen(endpoint, access=policy, **options) as listener:
        found = calls.security(listener._waiting[0].number)
    with blocking.listen(endpoint, access=policy, **options) as other:
        assert calls.security(other._waiting[0].number) == found
    me = calls.current_user_sid()
    assert f"(A;;FA;;;{me})" in found
    return found.replace(me, "ME")


async def test_allow_entries_follow_deny_entries(endpoint: Endpoint) -> None:
    policy = AccessPolicy([Group(USERS), User(SYSTEM)], [Group(GUESTS)])
    assert await descriptor(endpoint, policy) == (
        "D:P(D;;FA;;;BG)(A;;FA;;;ME)(A;;0x12019b;;;BU)(A;;0x12019b;;;SY)"
    )


async def test_rights_map_to_access_masks(endpoint: Endpoint) -> None:
    policy = AccessPolicy([Group(USERS, "read"), User(SYSTEM, "write")])
    assert await descriptor(endpoint, policy, direction="send") == (
        "D:P(A;;FA;;;ME)(A;;FR;;;BU)(A;;0x120192;;;SY)"
    )
    policy = AccessPolicy.everyone(rights="read", deny=[User(SYSTEM, "write")])
    # 0x116 in the letters of SDDL, which name rights of a directory service.
    assert await descriptor(endpoint, policy) == "D:P(D;;DCLCRPCR;;;SY)(A;;FA;;;ME)(A;;FR;;;WD)"


async def test_clients_cannot_create_instances(endpoint: Endpoint) -> None:
    for rights in ("read", "write", "both"):
        found = await descriptor(endpoint, AccessPolicy([User(SYSTEM, rights)]))
        mask = found.partition("(A;;FA;;;ME)(A;;")[2].partition(";")[0]
        assert (0x120089 if mask == "FR" else int(mask, 16)) & 0x4 == 0


async def test_account_names_are_looked_up(endpoint: Endpoint) -> None:
    found = calls.account_sid("Everyone")
    assert found is not None
    assert found[0] == "S-1-1-0"
    policy = AccessPolicy([Group("Everyone")])
    assert await descriptor(endpoint, policy) == "D:P(A;;FA;;;ME)(A;;0x12019b;;;WD)"


async def test_users_and_groups_differ_and_have_no_numbers(endpoint: Endpoint) -> None:
    for account, text in (
        (User("Everyone"), "is not a user; is it a group?"),
        (User(1000), "Windows has no numeric ids"),
        (Group("S-1-nothing"), "this machine has no group 'S-1-nothing'"),
        (User("S-1-5-018"), "this machine has no user 'S-1-5-018'"),
    ):
        with pytest.raises(ipcpipes.UnknownAccount, match=text):
            await ipcpipes.listen(endpoint, access=AccessPolicy([account]))


async def test_listening_user_cannot_be_denied(endpoint: Endpoint) -> None:
    for account in (User(calls.current_user_sid()), Group("Everyone"), Group(USERS)):
        with pytest.raises(ValueError, match="denies access to the user that listens"):
            await ipcpipes.listen(endpoint, access=AccessPolicy.everyone(deny=[account]))


async def test_sddl_text_is_used_unchanged(endpoint: Endpoint) -> None:
    text = f"D:P(A;;FA;;;{calls.current_user_sid()})(A;;FR;;;BU)"
    assert await descriptor(endpoint, AccessPolicy.sddl(text)) == "D:P(A;;FA;;;ME)(A;;FR;;;BU)"
    with pytest.raises(ValueError, match="is not a security descriptor"):
        await ipcpipes.listen(endpoint, access=AccessPolicy.sddl("D:P(nonsense)"))
    for without_a_list in ("", "O:SY"):
        with pytest.raises(ValueError, match="with an access list"):
            await ipcpipes.listen(endpoint, access=AccessPolicy.sddl(without_a_list))


@pytest.mark.parametrize("remote", [False, True])
async def test_remote_clients_are_refused_unless_allowed(
    endpoint: Endpoint, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GetNamedPipeInfo does not report it, so the test reads the arguments of the system call."""
    asked: list[bool] = []

    class Lib:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def ipc_create_instance(self, *arguments: Any) -> int:
            asked.append(arguments[6])
            return real.ipc_create_instance(*arguments)

    monkeypatch.setattr(calls, "lib", Lib())
    for policy in (
        AccessPolicy(remote=remote),
        AccessPolicy.everyone(remote=remote),
        AccessPolicy.sddl(f"D:P(A;;FA;;;{calls.current_user_sid()})", remote=remote),
    ):
        async with await ipcpipes.listen(endpoint, access=policy, backlog=2):
            pass
    assert asked == [remote] * 6


async def test_owner_of_pipes(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """This user owns a pipe; but a .NET endpoint has the default owner of the token, as .NET's own
    server does, because clients with CurrentUserOnly compare the two. For an elevated process that
    is the administrators' group.
    """
    me, administrators = calls.current_user_sid(), calls.ADMINISTRATORS[1]
    dotnet = Endpoint.dotnet(endpoint.name)
    for owner in {calls.default_owner_sid(), me, administrators}:
        monkeypatch.setattr(calls, "default_owner_sid", lambda owner=owner: owner)
        for where, wanted in ((endpoint, me), (dotnet, owner)):
            async with await ipcpipes.listen(where) as listener:
                assert calls.owner(listener._waiting[0].number).sid == wanted
                async with await ipcpipes.connect(
                    where, server=AccessPolicy.current_user()
                ) as client:
                    assert calls.owner(client._number).sid == wanted
            with blocking.listen(where) as other:
                assert calls.owner(other._waiting[0].number).sid == wanted
        # An owner that was given is not changed.
        mine = AccessPolicy.sddl(f"O:{me}D:P(A;;FA;;;{me})")
        async with await ipcpipes.listen(dotnet, access=mine) as listener:
            assert calls.owner(listener._waiting[0].number).sid == me


async def test_client_of_dotnet_pipe_accepts_its_default_owner(
    monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    """The default owner of the token is accepted too, but only at .NET endpoints."""
    monkeypatch.setattr(calls, "default_owner_sid", lambda: GUESTS)
    check = server_check(Endpoint.dotnet("x"), AccessPolicy.current_user())
    assert check is not None
    assert check(GUESTS)
    assert check(calls.current_user_sid())
    assert not check(USERS)
    check = server_check(endpoint, None)
    assert check is not None
    assert not check(GUESTS)
