"""Access policies as values: their checks, and their way to another process."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import ipcpipes
from ipcpipes import AccessPolicy, Group, User, blocking
from ipcpipes.security import policy_document, policy_from_document
from ipcpipes.testing import unique_endpoint

POLICIES = [
    AccessPolicy.current_user(),
    AccessPolicy.everyone(),
    AccessPolicy.everyone(rights="read", deny=[User("x"), Group(7, "write")]),
    AccessPolicy([User("a"), Group("b", "read")], [User(5)]),
    AccessPolicy.sddl("D:P(A;;FA;;;WD)"),
    AccessPolicy(remote=True),
    AccessPolicy.everyone(remote=True),
    AccessPolicy.sddl("D:P(A;;FA;;;WD)", remote=True),
]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_policy_documents_round_trip(policy: AccessPolicy) -> None:
    assert policy_from_document(policy_document(policy)) == policy


def test_policies_are_hashable_values() -> None:
    assert AccessPolicy() == AccessPolicy.current_user()
    assert AccessPolicy([User("a")]) == AccessPolicy((User("a"),))
    assert len({*POLICIES, AccessPolicy.current_user()}) == len(POLICIES)
    with pytest.raises(dataclasses.FrozenInstanceError):
        AccessPolicy().allow = ()  # type: ignore[misc]


@pytest.mark.parametrize("kind", [User, Group])
@pytest.mark.parametrize("account", [-1, 2**32 - 1, 2**40, "", "a\0b"])
def test_invalid_accounts_are_refused(kind: type[User], account: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot be the name of a|the id of a"):
        kind(account)


@pytest.mark.parametrize("account", [None, True, 1.5, b"root"])
def test_account_must_be_a_name_or_number(account: Any) -> None:
    with pytest.raises(TypeError, match="takes a name, an id or a SID"):
        User(account)


def test_invalid_policy_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="rights must be"):
        User("a", "execute")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rights must be"):
        AccessPolicy.everyone(rights="all")  # type: ignore[arg-type]
    for wrong in ("root", User("root"), ["root"], [1], [AccessPolicy()]):
        with pytest.raises(TypeError, match=r"must be a list|must contain only"):
            AccessPolicy(wrong)  # type: ignore[arg-type]
    for make in (AccessPolicy, AccessPolicy.everyone):
        with pytest.raises(TypeError, match="remote must be True or False"):
            make(remote="other-machine")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a security descriptor must be a str"):
        AccessPolicy.sddl(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("account", [User("no-such-user-here"), Group("no-such-group-here")])
@pytest.mark.parametrize("allowing", [True, False])
async def test_unknown_account_error_names_the_account(
    account: User | Group, allowing: bool
) -> None:
    policy = AccessPolicy([account]) if allowing else AccessPolicy.everyone(deny=[account])
    with pytest.raises(ipcpipes.UnknownAccount, match=f"{account.account}"):
        await ipcpipes.listen(unique_endpoint(), access=policy)
    with pytest.raises(LookupError):
        blocking.listen(unique_endpoint(), access=policy)
