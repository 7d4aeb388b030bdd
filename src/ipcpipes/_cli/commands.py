"""The commands as the user types them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .address import address
from .echo.as_child import as_child
from .echo.diagnose import diagnose
from .echo.send import send
from .echo.serve import serve

if TYPE_CHECKING:
    # Generic for the type checker only.
    Commands = argparse._SubParsersAction["CommandParser"]

__all__ = ["CommandParser", "add_command", "add_commands", "join_command", "positive", "seconds"]

_ECHO = """\
Starts an echo server in a second process, sends real data through it, checks
every byte that comes back, and prints round-trip times, throughput, the real
address and who is at the other end.

FILE, or standard input when a file or a pipe is redirected there, is sent as
messages of at most 64 KiB and then as one stream. Without any, generated data
of growing sizes is sent. A pipe that stays silent for a second is left alone.
(Windows: a pipe on standard input is read only when FILE is "-".)

With --child the other process is a child that has inherited its end, without a
name (ipcpipes.open_child and parent_stream), and has to end with status 0.

With --rpc the bytes go as arguments and results of remote calls, and then
through a pipe of a call to the server and a pipe of another one back.

To try two programs or two users: "echo serve" here, "echo send NAME" there.
A FILE that is called serve or send is written ./serve or ./send.
"""
_ECHO_STATUS = """\
exit status: 0 all came back right, 1 something failed (one line on standard
error says what), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
"""
_SERVE_STATUS = """\
exit status: 1 it could not listen (one line on standard error says why), 2
wrong usage, 130 Ctrl-C, 143 SIGTERM.
"""
_ADDRESS_STATUS = """\
exit status: 0 the address was printed, 1 NAME has no address on this system
(one line on standard error says why), 2 wrong usage, 130 Ctrl-C.
"""


def add_commands(commands: Commands) -> None:
    """Adds ``address``, ``echo``, ``echo serve`` and ``echo send``, each with what it ``run``s."""
    where = add_command(
        commands,
        "address",
        "print the real address of a name",
        "Prints the path of the socket or pipe of NAME, for programs in other languages: the\n"
        "path where a server has it now, or where a server would make it. The output is the\n"
        "bytes of the path and a line break, with nothing escaped (Windows: UTF-8).\n",
        _ADDRESS_STATUS,
    )
    where.add_argument("name", metavar="NAME", help="a plain name or an absolute path")
    where.set_defaults(run=address)

    echo = add_command(
        commands, "echo", "try it out on this machine, and measure it", _ECHO, _ECHO_STATUS
    )
    echo.add_argument("file", metavar="FILE", nargs="?", help='what to send; "-": standard input')
    echo.add_argument("--json", action="store_true", help="print one JSON document")
    echo.add_argument(
        "--seconds",
        metavar="S",
        type=positive,
        default=2.0,
        help="how long to send generated data, about (default: %(default)g)",
    )
    through = echo.add_mutually_exclusive_group()
    through.add_argument(
        "--child", action="store_true", help="through what a child inherits, not through a name"
    )
    through.add_argument(
        "--rpc", action="store_true", help="through calls and pipes of ipcpipes.rpc"
    )
    # What the child of --child is started with.
    echo.add_argument(
        "--as-child", dest="run", action="store_const", const=as_child, help=argparse.SUPPRESS
    )
    echo.set_defaults(run=diagnose)

    server = add_command(
        commands,
        "echo serve",
        "serve echoes until Ctrl-C",
        "Listens, prints one line that says where, and sends back what each client sends,\n"
        "until Ctrl-C. Only you can connect.\n",
        _SERVE_STATUS,
    )
    server.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        default="echo",
        help="a plain name or an absolute path (default: %(default)s)",
    )
    server.add_argument("--rpc", action="store_true", help="serve the calls that echo --rpc makes")
    # How the diagnostic's server notices that the diagnostic has ended, however it did.
    server.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    server.set_defaults(run=serve)

    client = add_command(
        commands,
        "echo send",
        "send a file through an echo server",
        "Connects to an echo server, sends FILE through it while checking what comes back,\n"
        "and prints one line. On a terminal, long input shows a progress bar (needs rich:\n"
        'pip install "ipcpipes[cli]").\n',
        _ECHO_STATUS,
    )
    client.add_argument("name", metavar="NAME", help="where the server listens")
    client.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help='what to send; "-", or none: standard input',
    )
    client.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=0.0,
        help="how long to wait for a server that is not there yet (default: %(default)g)",
    )
    client.set_defaults(run=send)


def join_command(argv: Sequence[str]) -> list[str]:
    """``echo serve`` as one word, also with options between the two: argparse cannot have
    sub-commands and an optional FILE at the same place.
    """
    words = list(argv)
    if words[:1] == ["echo"]:
        place = next(
            (at for at, word in enumerate(words[1:], 1) if word[:1] != "-" or word == "--"), None
        )
        if place is not None and words[place] in ("serve", "send"):
            words[0] = f"echo {words.pop(place)}"
    return words


class CommandParser(argparse.ArgumentParser):
    """Takes options anywhere among the positional arguments.

    argparse takes an optional positional argument as missing once an option stands before it (in
    older versions), and its ``parse_intermixed_args`` cannot format the help of a default.
    """

    def parse_known_args(  # type: ignore[override]  # argparse has two overloads for one behaviour
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        return super().parse_known_args(self._options_first(args or ()), namespace)

    def _options_first(self, words: Sequence[str]) -> list[str]:
        options: list[str] = []
        others: list[str] = []
        left = iter(words)
        for word in left:
            name, equals, _ = word.partition("=")
            action = self._option_string_actions.get(name)
            if word == "--":
                others += [word, *left]
            elif action is None:
                others.append(word)
            elif equals or action.nargs == 0:
                options.append(word)
            elif (value := next(left, None)) is not None:
                options.append(f"{word}={value}")
            else:
                others.append(word)  # last, so that argparse says what is missing
        return options + others


def add_command(
    commands: Commands, name: str, short: str, long: str, status: str
) -> argparse.ArgumentParser:
    """Adds one command, in the form that all have; ``status`` says what its exit statuses mean."""
    return commands.add_parser(
        name,
        help=short,
        description=long,
        epilog=status,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def seconds(text: str) -> float:
    """The type of an argument: 0 or more."""
    value = _number(text)
    if math.isnan(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 or more seconds")
    return value


def positive(text: str) -> float:
    """The type of an argument: more than 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not more than 0 seconds")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
