"""An access policy as a socket file's mode and a check of the peer's credentials."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .._os import posix_calls
from .policy import AccessPolicy

assert sys.platform != "win32" or not TYPE_CHECKING


def compiled(policy: AccessPolicy) -> posix_calls.Permissions:
    if policy.admits == "everyone":
        return posix_calls.Permissions(0o666, lambda peer: True)
    user = os.geteuid()
    return posix_calls.Permissions(0o600, lambda peer: peer.uid in (user, 0))
