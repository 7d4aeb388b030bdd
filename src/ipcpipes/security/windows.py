"""Compiles an access policy to a security descriptor, in SDDL (Security Descriptor Definition
Language).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from .._os.windows import calls as windows_calls
from ..endpoint import Endpoint
from ..errors import NotSupported, UnknownAccount
from .policy import AccessPolicy, Account, Group, User

assert sys.platform == "win32" or not TYPE_CHECKING

# FILE_GENERIC_READ and FILE_GENERIC_WRITE (winnt.h), the latter without FILE_CREATE_PIPE_INSTANCE
# (0x4): a client that could create an instance of the pipe could serve other clients in our name.
_ALLOWED = {"read": 0x120089, "write": 0x120192, "both": 0x12019B}
# Without SYNCHRONIZE and READ_CONTROL: both masks above contain them, so a client that is denied
# reading may still need them to write.
_DENIED = {"read": 0x89, "write": 0x116, "both": 0x1F01FF}
# SIDs are compared as text, so only the form that the system writes: no number begins with a zero.
_SID = re.compile(r"S-1(-(0|[1-9][0-9]*)){2,16}", re.ASCII)
_USERS = frozenset({1, 9})  # SidTypeUser, SidTypeComputer
_GROUPS = frozenset({2, 4, 5})  # SidTypeGroup, SidTypeAlias, SidTypeWellKnownGroup


def compile_policy(
    policy: AccessPolicy, kind: Literal["duplex", "send", "receive", "messages"]
) -> windows_calls.Permissions:
    """Returns what a listener enforces; unlike on POSIX, it is the same for every kind.

    Raises:
        UnknownAccount: this machine does not have such a user or group.
        ValueError: the policy denies access to the user that listens, or its text is not a
            security descriptor.
    """
    if policy.descriptor is not None:
        if not windows_calls.is_sddl(policy.descriptor):
            raise ValueError(
                f"{policy.descriptor!r} is not a security descriptor (SDDL) with an access list; "
                "it needs a part D:..."
            )
        return windows_calls.Permissions(policy.descriptor, policy.remote)
    me = windows_calls.current_user_sid()
    # The owner tells clients which user listens. The default owner of a token would not: for an
    # administrator it is the Administrators group.
    owner = f"O:{me}"
    # Entries that deny come first, so they win. "P": nothing is inherited.
    entries = [owner, "D:P"]
    for account in policy.deny:
        sid = _sid(account)
        if sid == me or (isinstance(account, Group) and windows_calls.belongs_to(sid)):
            raise ValueError("the policy denies access to the user that listens")
        entries.append(f"(D;;{_DENIED[account.rights]:#x};;;{sid})")
    # "FA": all file rights, because making the next instance needs them.
    entries.append(f"(A;;FA;;;{me})")
    for account in policy.allow:
        entries.append(f"(A;;{_ALLOWED[account.rights]:#x};;;{_sid(account)})")
    if policy.open_to_all is not None:
        entries.append(f"(A;;{_ALLOWED[policy.open_to_all]:#x};;;WD)")
    return windows_calls.Permissions("".join(entries), policy.remote, is_owner_ours=True)


def current_user_check(endpoint: Endpoint) -> Callable[[str], bool]:
    """Returns the check that this user owns the pipe at ``endpoint``."""
    return compile_server_policy(AccessPolicy.current_user(), endpoint)


def compile_server_policy(policy: AccessPolicy, endpoint: Endpoint) -> Callable[[str], bool]:
    """Returns the check of the SID that owns the pipe at ``endpoint``.

    Raises:
        UnknownAccount: this machine does not have such a user.
        NotSupported: the system cannot express the policy.
    """
    if policy.descriptor is not None:
        raise NotSupported("server= cannot be a security descriptor; name users instead")
    for account in (*policy.allow, *policy.deny):
        if not isinstance(account, User):
            raise NotSupported(
                f"{account}: Windows tells the owner of a pipe but not its groups; name users "
                "instead"
            )
    allowed = windows_calls.owners_of_ours(endpoint) | set(map(_sid, policy.allow))
    denied = set(map(_sid, policy.deny))

    def admits(owner: str) -> bool:
        return owner not in denied and (policy.open_to_all is not None or owner in allowed)

    return admits


def _sid(account: Account) -> str:
    kind, name = account.kind, account.account
    if isinstance(name, int):
        raise UnknownAccount(f"{account}: Windows has no numeric ids; give a name or a SID")
    if _SID.fullmatch(name):
        return name
    found = windows_calls.account_sid(name)
    if found is None:
        raise UnknownAccount(f"this machine has no {kind} {name!r}")
    sid, use = found
    if use not in (_USERS if kind == "user" else _GROUPS):
        other = "group" if kind == "user" else "user"
        raise UnknownAccount(f"{name!r} is not a {kind}; is it a {other}?")
    return sid
