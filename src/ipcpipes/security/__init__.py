"""Who may connect. The policy is the same everywhere; what it compiles to is not."""

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
