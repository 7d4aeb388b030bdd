"""What goes wrong, as the one line that the user reads."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from ..errors import EndpointError, IpcError

__all__ = ["ConnectionEnded", "Failure", "WrongBytes", "causes", "explain"]


class Failure(Exception):
    """The command cannot go on; the message says why, to the user."""


class WrongBytes(Failure):
    """What came back is not what was sent."""


class ConnectionEnded(Failure):
    """The other end has closed or died too early."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that a nursery has wrapped in groups, or ``error`` itself."""
    # Not isinstance: Python 3.10 has no BaseExceptionGroup, only trio's backport of it.
    inner: tuple[BaseException, ...] | None = getattr(error, "exceptions", None)
    if inner is None:
        yield error
    else:
        for each in inner:
            yield from causes(each)


def explain(error: BaseException) -> str | None:
    """One line for the user, or ``None`` for a mistake in this program."""
    found = list(causes(error))
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
