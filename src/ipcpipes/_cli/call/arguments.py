"""The command as the user types it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..commands import add_command, positive, seconds

if TYPE_CHECKING:
    from ..commands import Commands

__all__ = ["add_commands"]

_CALL = """\
Lists what the RPC server at NAME offers, with the fields and the choices of its
types, or calls one of its operations. The server has to allow it:
rpc.serve(..., introspection=True).

An argument is name=value, and the value is JSON. Where the parameter takes
text, quotes are not needed: name=5 and name=true are text there. Where it takes
bytes, give name=@FILE for the bytes of a file, or name=- for standard input;
bytes inside another value cannot be given.

For a pipe towards the server, give name=@FILE (its bytes are the elements, as
they lie in memory), name=- for standard input, or a JSON list of elements. A
pipe towards the client goes to name=@FILE, or name=- for standard output, which
is also where it goes when it is not mentioned. A file gets the elements as they
lie in memory; standard output gets numbers one a line, and bytes as they are.
With --raw it gets what a file gets. A pipe in both directions is
name=SOURCE,SINK, each of these.

What the operation returns is printed as JSON, with bytes as base64; on standard
error, where a pipe goes to standard output. Control characters that the server
has sent are escaped, unless they are bytes of a pipe that does not go to a
terminal. On a terminal, a long pipe shows a progress bar (needs rich:
pip install "ipcpipes[cli]").
"""
_STATUS = """\
exit status: 0 the list was printed, or the operation has returned; 1 there is
no such server, operation or parameter, or the call failed or took too long, or
the operation raised an exception (one line on standard error says which error);
2 wrong usage; 130 Ctrl-C; 143 SIGTERM.
"""


def add_commands(commands: Commands) -> None:
    """Adds ``call``, with what it ``run``s."""
    call = add_command(commands, "call", "list and call what an RPC server offers", _CALL, _STATUS)
    call.add_argument("name", metavar="NAME", help="where the server listens")
    call.add_argument(
        "operation", metavar="INTERFACE.OPERATION", nargs="?", help="which one to call"
    )
    call.add_argument("arguments", metavar="ARGUMENT", nargs="*", help="name=value")
    call.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=0.0,
        help="how long to wait for a server that is not there yet (default: %(default)g)",
    )
    call.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=positive,
        default=None,
        help="how long the call may take (default: as long as it takes)",
    )
    call.add_argument(
        "--raw",
        action="store_true",
        help="write the elements of a pipe as they lie in memory, also numbers, and to a terminal",
    )
    call.set_defaults(run=_run)


async def _run(arguments: argparse.Namespace) -> None:
    # Here, so that the other commands need not load what calls need.
    from .call import call

    await call(arguments)
