"""Compiles an access policy to the mode and group of a socket file, and a check of credentials.

The check decides; the mode is the narrowest one that does not exclude an allowed client. A mode
alone would not be enough: it has only one group, and macOS and the BSDs have not always honoured
it.
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from .._os.posix import calls as posix_calls
from ..endpoint import Endpoint
from ..errors import NotSupported, UnknownAccount
from .policy import AccessPolicy, Account, Rights, User

assert sys.platform != "win32" or not TYPE_CHECKING

# The rights that a client needs, by the kind of the listener.
_NEEDED: dict[str, Rights] = {
    "duplex": "both",
    "messages": "both",
    "send": "read",
    "receive": "write",
}


class _Accounts:
    """The ids of some users and groups."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self.users: set[int] = set()
        self.groups: set[int] = set()
        for account in accounts:
            (self.users if isinstance(account, User) else self.groups).add(_id(account))

    def have(self, peer: posix_calls.Credentials) -> bool:
        if peer.uid in self.users or peer.gid in self.groups:
            return True
        return not self.groups.isdisjoint(peer.groups)


def compile_policy(
    policy: AccessPolicy, kind: Literal["duplex", "send", "receive", "messages"]
) -> posix_calls.Permissions:
    """Returns what a listener of this kind enforces.

    Raises:
        UnknownAccount: this machine does not have such a user or group.
        NotSupported: the system cannot express the policy.
        ValueError: the policy denies access to the user that listens.
    """
    _require_accounts(policy)
    if policy.remote:
        raise NotSupported("other machines cannot connect to a Unix socket; leave remote out")
    needed = _NEEDED[kind]
    allowed = _Accounts(_relevant(policy.allow, needed))
    denied = _Accounts(_relevant(policy.deny, needed))
    is_open = policy.open_to_all is not None and _grants(policy.open_to_all, needed, "everyone")
    me = os.geteuid()
    if me in denied.users or not denied.groups.isdisjoint({os.getegid(), *os.getgroups()}):
        raise ValueError("the policy denies access to the user that listens")
    admits = _admission(allowed, denied, is_open)
    if is_open or allowed.users - {me, 0} or len(allowed.groups) > 1:
        return posix_calls.Permissions(0o666, admits)
    if not allowed.groups:
        return posix_calls.Permissions(0o600, admits)
    (group,) = allowed.groups
    if me == 0 or group in (os.getegid(), *os.getgroups()):
        return posix_calls.Permissions(0o660, admits, group)
    return posix_calls.Permissions(0o666, admits)  # the file cannot be given to that group


def current_user_check(endpoint: Endpoint) -> Callable[[posix_calls.Credentials], bool]:
    """Returns the check that the server at ``endpoint`` runs as this user, or as root."""
    return _current_user_check(os.geteuid())


# Clients connect with it by default, and to compile it each time takes longer than to connect.
@functools.lru_cache(maxsize=16)
def _current_user_check(uid: int) -> Callable[[posix_calls.Credentials], bool]:
    return _admission(_Accounts(()), _Accounts(()), is_open=False)


def compile_server_policy(
    policy: AccessPolicy,
    endpoint: Endpoint,
) -> Callable[[posix_calls.Credentials], bool]:
    """Returns the check of the server's credentials. Unlike on Windows, it is the same at every
    ``endpoint``.

    Raises:
        UnknownAccount: this machine does not have such a user or group.
        NotSupported: the system cannot express the policy.
    """
    _require_accounts(policy)
    return _admission(
        _Accounts(policy.allow), _Accounts(policy.deny), policy.open_to_all is not None
    )


def _require_accounts(policy: AccessPolicy) -> None:
    if policy.descriptor is not None:
        raise NotSupported("AccessPolicy.sddl works only on Windows; name users and groups instead")


def _admission(
    allowed: _Accounts, denied: _Accounts, is_open: bool
) -> Callable[[posix_calls.Credentials], bool]:
    me = os.geteuid()

    def admits(peer: posix_calls.Credentials) -> bool:
        if (denied.users or denied.groups) and denied.have(peer):
            return False
        return is_open or peer.uid in (me, 0) or allowed.have(peer)

    return admits


def _relevant(accounts: Iterable[Account], needed: Rights) -> list[Account]:
    return [account for account in accounts if _grants(account.rights, needed, str(account))]


def _grants(rights: Rights, needed: Rights, account: str) -> bool:
    """Returns whether ``rights`` contain what a client of this listener needs."""
    if needed == "both" and rights != "both":
        raise NotSupported(
            f"{account} with rights {rights!r}: a duplex Unix socket is always allowed or denied "
            "in both directions; use 'both', or listen with direction="
        )
    return rights in (needed, "both")


def _id(account: Account) -> int:
    name = account.account
    if isinstance(name, int):
        return name
    try:
        if isinstance(account, User):
            return pwd.getpwnam(name).pw_uid
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise UnknownAccount(f"this machine has no {account.kind} {name!r}") from None
