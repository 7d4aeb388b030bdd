"""What a user of the doors asked for as ``framing``; the same for every driver."""

from __future__ import annotations

from typing import Literal

from .contract import Framing
from .length_prefixed import LengthPrefixed
from .limits import check_max_size
from .native import Native


def resolve_framing(framing: Framing | Native | None) -> Framing | Native:
    """The framing to use: the default for ``None``.

    Raises:
        TypeError, ValueError: it is no framing, or its ``max_size`` is none.
    """
    if framing is None:
        return LengthPrefixed()
    if not isinstance(framing, (Framing, Native)):
        raise TypeError(f"framing must be a Framing or NATIVE, not {framing!r}")
    check_max_size(getattr(framing, "max_size", None))
    return framing


def kind_of(framing: Framing | Native) -> Literal["duplex", "messages"]:
    """What kind of connection carries it."""
    return "messages" if isinstance(framing, Native) else "duplex"
