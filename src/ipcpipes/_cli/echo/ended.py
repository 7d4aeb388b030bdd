"""The end of a process that should have gone on, as the line that the user reads. Pure."""

from __future__ import annotations

import signal

from ...errors import single_errors
from ..failure import ConnectionEnded, Failure, WrongBytes

__all__ = ["LONGEST_MESSAGE", "is_about_the_end", "process_ended"]

LONGEST_MESSAGE = 4096
"""How much of what it said need be kept; in bytes or characters."""


def is_about_the_end(error: BaseException) -> bool:
    """Whether ``error`` is best told by how the process at the other end has ended."""
    found = list(single_errors(error))
    return any(isinstance(each, ConnectionEnded) for each in found) and not any(
        isinstance(each, WrongBytes) for each in found
    )


def process_ended(who: str, status: int, said: str) -> Failure:
    """What to tell the user.

    Args:
        who: ``"server"`` or ``"child"``.
        status: as in :attr:`subprocess.Popen.returncode`.
        said: what it has written to standard error; the last line mostly says why.
    """
    how = f"by {_signal_name(-status)}" if status < 0 else f"with status {status}"
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    return Failure(f"the {who} process ended {how}: {last}".rstrip(": "))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have none
        return f"signal {number}"
