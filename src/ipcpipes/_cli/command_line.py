"""From the arguments to the exit status."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
from collections.abc import Sequence
from typing import cast

import trio

import ipcpipes

from . import output
from .commands import parse
from .failure import explain

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Runs the command that ``argv`` (without the program's name) asks for.

    Returns:
        The exit status. One line on standard error has described a failure.
    """
    output.prepare()
    try:
        ipcpipes.run(_run_command, _parse(argv))
    except SystemExit as end:  # after --help, wrong usage, Ctrl-C or SIGTERM
        return cast("int", end.code)
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        output.complain(line)
        return 1
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    # argparse itself does not notice that its help cannot be written.
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            return parse(argv)
    finally:
        if printed.getvalue():
            output.write(printed.getvalue().rstrip("\n"))


async def _run_command(arguments: argparse.Namespace) -> None:
    try:
        await arguments.run(arguments)
    except Exception:
        # Ctrl-C reaches every process of a pipeline. An error because another one of them has
        # ended is not a failure then.
        is_cancelled = trio.current_effective_deadline() == -math.inf
        if not is_cancelled:
            raise
