"""Socket activation: finds the sockets that systemd has passed to this process.

The protocol is that of sd_listen_fds(3) and sd_listen_fds_with_names(3): environment variables say
to which process, how many, and their names; the descriptors begin at 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import InvalidEndpoint

__all__ = ["activated"]

_FIRST = 3  # SD_LISTEN_FDS_START


def activated(name: str | None, environment: Mapping[str, str], pid: int) -> int | None:
    """Returns the descriptor of a passed socket; ``None`` if none was passed to this process.

    Args:
        name: which one; ``None`` for the only one.
        environment: the environment variables of this process.
        pid: the number of this process. A child has the variables, too, but not the sockets.

    Raises:
        InvalidEndpoint: there is not exactly one such socket, or the variables are not valid.
    """
    if environment.get("LISTEN_PID") != str(pid):
        return None
    text = environment.get("LISTEN_FDS", "")
    if not (text.isascii() and text.isdigit()):
        raise InvalidEndpoint(f"LISTEN_FDS={text!r} is not the number of the passed sockets")
    names = [*environment.get("LISTEN_FDNAMES", "").split(":"), *["unknown"] * int(text)]
    passed = [one or "unknown" for one in names[: int(text)]]
    found: list[int]
    if name is None:
        found = list(range(len(passed)))
        advice = "give the name of one of them"
    else:
        found = [index for index, one in enumerate(passed) if one == name]
        advice = "FileDescriptorName= in the socket unit sets the name"
    if len(found) == 1:
        return _FIRST + found[0]
    wanted = "" if name is None else f" called {name!r}"
    raise InvalidEndpoint(
        f"systemd has passed {len(found)} sockets{wanted}, and not 1 (all: {', '.join(passed)}); "
        f"{advice}, and Endpoint.inherited takes them by their numbers, from {_FIRST}"
    )
