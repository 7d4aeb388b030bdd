"""The errors of the command line, and the one line that the user reads about an error."""

from __future__ import annotations

import trio

from ..errors import EndpointError, IpcError, single_errors

__all__ = ["ConnectionEnded", "Failure", "WrongBytes", "explain"]


class Failure(Exception):
    """The command cannot continue. The message is for the user."""


class WrongBytes(Failure):
    """The bytes that came back are not those that were sent."""


class ConnectionEnded(Failure):
    """The peer closed the connection or died too early."""


def explain(error: BaseException) -> str | None:
    """Returns one line for the user; ``None`` if the error is a mistake in this program."""
    found = list(single_errors(error))
    # Wrong bytes come first, because they are the reason why the connection was given up.
    found.sort(key=lambda each: not isinstance(each, WrongBytes))
    lines = [_line(each) for each in found]
    if None in lines:
        return None
    # A path or a server's message may contain line breaks.
    return " ".join(str(lines[0]).split())


def _line(error: BaseException) -> str | None:
    if isinstance(error, EndpointError):
        # The library's advice names an argument; the command line has an option.
        return str(error).replace("wait=SECONDS", "--wait SECONDS")
    if isinstance(error, (Failure, IpcError)):
        return str(error)
    if isinstance(error, trio.BrokenResourceError):
        return f"the connection broke: {error}"
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return reason if error.filename is None else f"{error.filename}: {reason}"
    return None
