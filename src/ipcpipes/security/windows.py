"""An access policy as a security descriptor, in SDDL."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .._os import windows_calls
from .policy import AccessPolicy

assert sys.platform == "win32" or not TYPE_CHECKING

# FILE_GENERIC_READ | FILE_GENERIC_WRITE without FILE_CREATE_PIPE_INSTANCE (0x4): a client
# that could create an instance of the pipe could serve other clients in our name.
_CLIENT_RIGHTS = "0x12019b"


def compiled(policy: AccessPolicy) -> windows_calls.Permissions:
    # "P": nothing is inherited. "FA": all file rights, which the next instance needs too.
    sddl = f"D:P(A;;FA;;;{windows_calls.current_user_sid()})"
    if policy.admits == "everyone":
        sddl += f"(A;;{_CLIENT_RIGHTS};;;WD)"
    return windows_calls.Permissions(sddl)
