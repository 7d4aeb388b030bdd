"""The two things that systems do differently here: whole-file twins, chosen once."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from .windows import (
        open_apart as open_apart,
        read_some as read_some,
        ready_within as ready_within,
    )
else:
    from .posix import (
        open_apart as open_apart,
        read_some as read_some,
        ready_within as ready_within,
    )
