"""``python -m ipcpipes``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status; ``argv`` is without the program's name."""
    try:
        # Imported here, so that Ctrl-C while it loads shows no traceback. While the package itself
        # loads, which is before this module, a traceback cannot be prevented.
        from ._cli.command_line import run

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    status = main()
    # Ctrl-C has nothing left to interrupt, and would show a traceback of the interpreter's end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)
