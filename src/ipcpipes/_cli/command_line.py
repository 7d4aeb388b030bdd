"""Runs a command, from the arguments to the exit status.

The docstring of the function that runs a command is the text of its ``--help``; the last paragraph
stands below the options.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import trio

import ipcpipes

from . import output
from .echo.commands import diagnose, echo_to_parent, send, serve
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
            return _parse_words(_join_command(argv))
    finally:
        if printed.getvalue():
            output.write(printed.getvalue().rstrip("\n"))


async def _run_command(arguments: argparse.Namespace) -> None:
    try:
        await arguments.run(arguments)
    except Exception:
        # Ctrl-C reaches every process of a pipeline. In that case, an error that the end of another
        # one of them causes is not a failure.
        is_cancelled = trio.current_effective_deadline() == -math.inf
        if not is_cancelled:
            raise


def _parse_words(words: Sequence[str]) -> argparse.Namespace:
    """Returns the command's arguments. Their attribute ``run`` is the async function that runs the
    command.

    Raises:
        SystemExit: after ``--help`` and ``--version``, and after wrong usage.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ipcpipes",
        description="Named pipes and Unix domain sockets: try them out on this machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ipcpipes {ipcpipes.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], Awaitable[None]],
        short: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        description, _, status = (inspect.getdoc(run) or "").rpartition("\n\n")
        command: argparse.ArgumentParser = commands.add_parser(
            name,
            help=short,
            description=description,
            epilog=status,
            parents=parents,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.set_defaults(run=run)
        return command

    address = add("address", _address, "print the real address of a name")
    address.add_argument("name", metavar="NAME", help="a plain name or an absolute path")
    server = _server_arguments()
    _add_echo_arguments(add("echo", diagnose, "try it out on this machine, and measure it"))
    _add_serve_arguments(add("echo serve", serve, "serve echoes until Ctrl-C"))
    sending = add("echo send", send, "send a file through an echo server", server)
    sending.add_argument(
        "file", metavar="FILE", nargs="?", help='what to send; "-", or none: standard input'
    )
    _add_call_arguments(add("call", _call, "list and call what an RPC server offers", server))
    _add_stubs_arguments(add("stubs", _stubs, "write an interface for the other driver"))

    command = commands.choices.get(words[0]) if words else None
    if command is None:
        return parser.parse_args(words)
    if "--" in words:
        return command.parse_args(words[1:])  # parse_intermixed_args ignores a first "--"
    # Before Python 3.12, parse_args takes an optional positional argument as missing if an option
    # stands before it.
    return command.parse_intermixed_args(words[1:])


def _join_command(argv: Sequence[str]) -> list[str]:
    """Makes ``echo serve`` and ``echo send`` one word, also with options between the two: argparse
    cannot have sub-commands and an optional FILE in the same place.
    """
    words = list(argv)
    if words[:1] == ["echo"]:
        first = next((word for word in words[1:] if word[:1] != "-" or word == "--"), None)
        if first in ("serve", "send"):
            words.remove(first)
            words[0] = f"echo {first}"
    return words


def _add_echo_arguments(echo: argparse.ArgumentParser) -> None:
    echo.add_argument("file", metavar="FILE", nargs="?", help='what to send; "-": standard input')
    echo.add_argument("--json", action="store_true", help="print one JSON document")
    echo.add_argument(
        "--seconds",
        metavar="S",
        type=_positive_seconds,
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
    # For the second process of --child.
    echo.add_argument(
        "--as-child",
        dest="run",
        action="store_const",
        const=echo_to_parent,
        help=argparse.SUPPRESS,
    )


def _add_serve_arguments(server: argparse.ArgumentParser) -> None:
    server.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        default="echo",
        # %(default)s does not work here, because parse_intermixed_args has replaced the default by
        # then.
        help="a plain name or an absolute path (default: echo)",
    )
    server.add_argument("--rpc", action="store_true", help="serve the calls that echo --rpc makes")
    # For the diagnostic's server, which ends with the diagnostic.
    server.add_argument("--as-child", action="store_true", help=argparse.SUPPRESS)


def _server_arguments() -> argparse.ArgumentParser:
    """Makes a parser of the arguments of each command that connects to a server."""
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument("name", metavar="NAME", help="where the server listens")
    server.add_argument(
        "--wait",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="how long to wait for a server that is not there yet (default: %(default)g)",
    )
    return server


def _add_call_arguments(call: argparse.ArgumentParser) -> None:
    call.add_argument(
        "operation", metavar="INTERFACE.OPERATION", nargs="?", help="which one to call"
    )
    call.add_argument("arguments", metavar="ARGUMENT", nargs="*", help="name=value")
    call.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_positive_seconds,
        help="how long the call may take (default: as long as it takes)",
    )
    call.add_argument(
        "--raw",
        action="store_true",
        help="write the elements of a pipe as they lie in memory, also to a terminal",
    )


def _add_stubs_arguments(stubs: argparse.ArgumentParser) -> None:
    stubs.add_argument("interface", metavar="MODULE:INTERFACE", help="such as thumbs:Thumbs")
    stubs.add_argument(
        "--trio",
        action="store_true",
        help="write it for trio, from one for the blocking driver (default: the reverse)",
    )


def _seconds(text: str) -> float:
    value = _number(text)
    if math.isnan(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 or more seconds")
    return value


def _positive_seconds(text: str) -> float:
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not more than 0 seconds")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None


async def _address(arguments: argparse.Namespace) -> None:
    """Prints the path of the socket or pipe of NAME, for programs in other languages: the
    path where a server has it now, or where a server would make it. The output is the
    bytes of the path and a line break, with nothing escaped (Windows: UTF-8).

    exit status: 0 the address was printed, 1 NAME has no address on this system
    (one line on standard error says why), 2 wrong usage, 130 Ctrl-C.
    """
    output.write_path(ipcpipes.Endpoint.of(arguments.name).address)


async def _call(arguments: argparse.Namespace) -> None:
    """Lists what the RPC server at NAME offers, with the fields and the choices of its
    types, or calls one of its operations. The server has to allow it:
    rpc.serve(..., introspection=True).

    An argument is name=value, and the value is JSON. Where the parameter takes
    text, quotes are not needed: name=5 and name=true are text there. Where it takes
    bytes, give name=@FILE for the bytes of a file, or name=- for standard input;
    bytes inside another value cannot be given.

    For a pipe towards the server, give name=@FILE (its bytes are the elements, as
    they lie in memory), name=- for standard input, or a JSON list of elements; a
    structure is a JSON object. A pipe towards the client goes to name=@FILE, or
    name=- for standard output, which is also where it goes when it is not mentioned.
    A file gets the elements as they lie in memory. Standard output gets bytes as they
    are, and each other element as JSON on its own line (numbers also as NaN and
    Infinity). With --raw it gets what a file gets. A pipe in both directions is
    name=SOURCE,SINK, each of these; without ,SINK it goes to standard output.

    What the operation returns is printed as JSON, with bytes as base64; on standard
    error, where a pipe goes to standard output. Control characters that the server
    has sent are escaped, unless they are bytes of a pipe that does not go to a
    terminal. On a terminal, a long pipe shows a progress bar (needs rich:
    pip install "ipcpipes[cli]").

    exit status: 0 the list was printed, or the operation has returned; 1 there is
    no such server, operation or parameter, or the call failed or took too long, or
    the operation raised an exception (one line on standard error says which error);
    2 wrong usage; 130 Ctrl-C; 143 SIGTERM.
    """
    # Imported here, so that the other commands do not load ipcpipes.rpc.
    from .call.call import call

    await call(arguments)


async def _stubs(arguments: argparse.Namespace) -> None:
    """Prints a Python module with the interface MODULE:INTERFACE as it is for the blocking
    driver: its operations are defined with "def" and take blocking pipes, and a type
    checker knows that they are called without "await". It is the same interface for
    servers and clients, with the same UUID. Write it to a file beside the module, and
    again after each change of the interface:

        python -m ipcpipes stubs thumbs:Thumbs > thumbs_blocking.py

    MODULE is imported from the current folder, or from where Python finds modules.

    exit status: 0 the module was printed, 1 there is no such interface, or its source
    text cannot be used (one line on standard error says why), 2 wrong usage, 130 Ctrl-C.
    """
    # Imported here, so that the other commands do not load ipcpipes.rpc.
    from .stubs.stubs import stubs

    output.write(stubs(arguments.interface, blocking=not arguments.trio))
