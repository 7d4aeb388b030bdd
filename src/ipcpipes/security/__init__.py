"""Who may connect. The policy is the same everywhere; what it compiles to is not."""

from __future__ import annotations

import sys

from .policy import AccessPolicy as AccessPolicy

if sys.platform == "win32":
    from .windows import compiled as compiled
else:
    from .posix import compiled as compiled
