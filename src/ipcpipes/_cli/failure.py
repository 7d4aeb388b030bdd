"""What goes wrong, as the one line that the user reads."""

from __future__ import annotations

import trio

from ..errors import EndpointError, IpcError, single_errors

__all__ = ["ConnectionEnded", "Failure", "WrongBytes", "explain"]


class Failure(Exception):
    """The command cannot go on; the message says why, to the user."""


class WrongBytes(Failure):
    """What came back is not what was sent."""


class ConnectionEnded(Failure):
    """The other end has closed or died too early."""


def explain(error: BaseException) -> str | None:
    """One line for the user, or ``None`` for a mistake in this program."""
    found = list(single_errors(error))
    # That wrong bytes came back is why the connection was given up, not the reverse.
    found.sort(key=lambda each: not isinstance(each, WrongBytes))
    lines = [_line(each) for each in found]
    if None in lines:
        return None
    # What a path or a server's message brings along must not make two lines of it.
    return " ".join(str(lines[0]).split())


def _line(error: BaseException) -> str | None:
    if isinstance(error, EndpointError):
        # Advice names the argument; here it is a flag.
        return str(error).replace("wait=SECONDS", "--wait SECONDS")
    if isinstance(error, (Failure, IpcError)):
        return str(error)
    if isinstance(error, trio.BrokenResourceError):
        return f"the connection broke: {error}"
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return reason if error.filename is None else f"{error.filename}: {reason}"
    return None
