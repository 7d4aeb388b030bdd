"""What systems do differently here: whole-file twins, chosen once."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from .windows import (
        APART as APART,
        child_transport as child_transport,
        read_some as read_some,
        ready_within as ready_within,
    )
else:
    from .posix import (
        APART as APART,
        child_transport as child_transport,
        read_some as read_some,
        ready_within as ready_within,
    )
