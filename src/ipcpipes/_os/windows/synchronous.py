"""Windows: synchronous pipe handles, such as an inherited end that another program made with
CreatePipe (.NET's AnonymousPipeServerStream, subprocess).

Such a handle was opened without FILE_FLAG_OVERLAPPED. No completion port takes it, and an operation
that waits on it makes every other operation on it wait. So no operation waits in the system: each
attempt transfers what is possible at once, and the driver pauses between two attempts.
"""

from __future__ import annotations

from collections.abc import Iterator

# Seconds. The first pauses are short, for a reply that is on its way; the later ones are long
# enough to cost nothing.
_FIRST_PAUSE = 0.001
LONGEST_PAUSE = 0.02
LARGEST_WRITE = 1 << 16
"""How many bytes one attempt writes at most: the buffer of such a pipe mostly holds 4 KiB."""
SEND_INTERRUPTED = "a send was interrupted, and a part of the data may have been sent"


def pauses() -> Iterator[float]:
    """Yields the seconds to wait after each attempt that transferred nothing."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)
