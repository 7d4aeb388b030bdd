"""From the arguments to the exit status."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
from collections.abc import Sequence

import ipcpipes

from . import interrupt, output
from .arguments import add_commands, join_command
from .failure import explain

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Runs the command that ``argv`` asks for.

    Returns:
        The exit status. What went wrong has been said, in one line on standard error.
    """
    output.prepare()
    try:
        return _run(argv)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        output.complain(line)
        return 1


def _run(argv: Sequence[str]) -> int:
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
    parser.add_argument("--version", action="version", version=f"ipcpipes {ipcpipes.__version__}")
    add_commands(parser.add_subparsers(metavar="COMMAND", required=True, title="commands"))
    return parser
