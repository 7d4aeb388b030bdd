"""From the arguments to the exit status."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import ipcpipes

from . import interrupt, output
from .commands import CommandParser, join_command
from .failure import explain

if TYPE_CHECKING:
    from .commands import Commands

__all__ = ["run"]


def run(argv: Sequence[str], commands: Sequence[Callable[[Commands], None]]) -> int:
    """Runs the command that ``argv`` asks for.

    Args:
        argv: without the program's name.
        commands: what adds the commands that there are.

    Returns:
        The exit status. What went wrong has been said, in one line on standard error.
    """
    output.prepare()
    try:
        return _run(argv, commands)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        output.complain(line)
        return 1


def _run(argv: Sequence[str], commands: Sequence[Callable[[Commands], None]]) -> int:
    try:
        # argparse would not notice that nobody reads its help.
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            arguments = _parser(commands).parse_args(join_command(argv))
    except SystemExit as end:
        # After --help and --version, and after wrong usage.
        if printed.getvalue():
            output.write(printed.getvalue().rstrip("\n"))
        return end.code if isinstance(end.code, int) else 1
    return interrupt.run(functools.partial(arguments.run, arguments))


def _parser(commands: Sequence[Callable[[Commands], None]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ipcpipes",
        description="Named pipes and Unix domain sockets: try them out on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ipcpipes {ipcpipes.__version__}")
    added = parser.add_subparsers(
        metavar="COMMAND", required=True, title="commands", parser_class=CommandParser
    )
    for add in commands:
        add(added)
    return parser
