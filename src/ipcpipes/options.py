"""The options of connecting and listening, and the checks that every function with them uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

from .abc import MOST_DESCRIPTORS

Direction = Literal["duplex", "send", "receive"]
Impersonation = Literal["anonymous", "identify", "impersonate", "delegate"]
IMPERSONATIONS: tuple[str, ...] = get_args(Impersonation)

DEFAULT_BACKLOG = 256
LARGEST_BACKLOG = 4096
DEFAULT_GRACE = 5.0
"""How many seconds clients get to finish after a server was told to end. ``open_child`` gives a
child the same time; most supervisors kill a process after 10 s."""


def checked_seconds(what: str, value: object) -> float:
    """Returns ``value`` as a time of 0 or more seconds; ``math.inf`` is allowed.

    Raises:
        TypeError: ``value`` is not an int or a float.
        ValueError: it is negative or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be a number of seconds, not {value!r}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf if value > 0 else -math.inf
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"{what} must be 0 or more seconds, not {value!r}")
    return seconds


def check_count(
    what: str, value: object, *, least: int = 1, limit: int = 2**31 - 1, optional: bool = True
) -> None:
    """Raises unless ``value`` is an int of ``least`` to ``limit``, or ``None`` and ``optional``.

    Raises:
        TypeError, ValueError: ``value`` is of the wrong type, or out of range.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        kinds = "an int or None" if optional else "an int"
        raise TypeError(f"{what} must be {kinds}, not {value!r}")
    if not least <= value <= limit:
        raise ValueError(f"{what} must be {least} to {limit}, not {value}")


def check_max_descriptors(value: object) -> None:
    """Raises unless ``value`` is a number of descriptors that one message can have.

    Raises:
        TypeError, ValueError: ``value`` is not an int, or not 0 to 253.
    """
    if value != 0 or type(value) is not int:
        check_count("max_descriptors", value, limit=MOST_DESCRIPTORS, optional=False)


def check_choice(what: str, value: object, choices: Sequence[str]) -> None:
    """Raises:
    ValueError: ``value`` is not one of the choices.
    """
    if value not in choices:
        *others, last = [f'"{choice}"' for choice in choices]
        raise ValueError(f"{what} must be {', '.join(others)} or {last}, not {value!r}")


def check_direction(value: object) -> None:
    """Raises:
    ValueError: ``value`` is not a direction.
    """
    if value != "duplex":  # the default needs no step more
        check_choice("direction", value, get_args(Direction))
