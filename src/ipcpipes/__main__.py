"""``python -m ipcpipes``."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import signal
import sys
from collections.abc import Sequence

from . import __version__
from ._echo import interrupt, output
from ._echo.arguments import add_commands, join_command
from ._echo.failure import explain

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status; ``argv`` is without the program's name."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        return interrupt.INTERRUPTED
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        output.complain(line)
        return 1


def _run(argv: Sequence[str]) -> int:
    output.prepare()
    try:
        # argparse would not notice that nobody reads its help.
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            arguments = _parser().parse_args(join_command(argv))
    except SystemExit as end:
        # After --help and --version, and after wrong usage.
        if printed.getvalue():
            output.write(printed.getvalue().rstrip("\n"))
        return end.code if isinstance(end.code, int) else 1
    return interrupt.run(functools.partial(arguments.run, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ipcpipes",
        description="Named pipes and Unix domain sockets: try them out on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ipcpipes {__version__}")
    add_commands(parser.add_subparsers(metavar="COMMAND", required=True, title="commands"))
    return parser


if __name__ == "__main__":
    status = main()
    # Nothing is left to interrupt, and the interpreter would show a traceback while it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)
