"""``python -m ipcpipes``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status; ``argv`` is without the program's name."""
    try:
        # Here, so that Ctrl-C while it loads shows no traceback. While the package itself
        # loads, which is before this module, nothing can be done about one.
        from ._cli import commands as echo
        from ._cli.call import arguments as call
        from ._cli.command_line import run

        return run(sys.argv[1:] if argv is None else argv, (echo.add_commands, call.add_commands))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    status = main()
    # Nothing is left to interrupt, and the interpreter would show a traceback while it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)
