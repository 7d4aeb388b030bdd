"""Access control: which clients may connect to a listener, and which server a client accepts.

A policy is the same on every system. Its compiled form is not: on POSIX it is a mode, a group and a
check of the peer's credentials, on Windows a security descriptor.
"""

from __future__ import annotations

import sys

from .client_files import open_for_client as open_for_client
from .document import (
    policy_document as policy_document,
    policy_from_document as policy_from_document,
)
from .policy import AccessPolicy as AccessPolicy, Group as Group, Rights as Rights, User as User
from .server import server_check as server_check

if sys.platform == "win32":
    from .windows import compile_policy as compile_policy
else:
    from .posix import compile_policy as compile_policy
