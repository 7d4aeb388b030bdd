"""The ``framing`` argument of public functions; the same for every driver."""

from __future__ import annotations

from typing import Literal

from .contract import Framing
from .length_prefixed import LengthPrefixed
from .limits import check_max_size
from .native import Native


def resolve_framing(framing: Framing | Native | None) -> Framing | Native:
    """Returns the framing to use: the default for ``None``.

    Raises:
        TypeError: ``framing`` is not a framing.
        TypeError, ValueError: its ``max_size`` is not an int, or is out of range.
    """
    if framing is None:
        return LengthPrefixed()
    if not isinstance(framing, (Framing, Native)):
        raise TypeError(f"framing must be a Framing or NATIVE, not {framing!r}")
    check_max_size(getattr(framing, "max_size", None))
    return framing


def kind_of(framing: Framing | Native) -> Literal["duplex", "messages"]:
    """Returns the kind of connection that carries messages in this framing."""
    return "messages" if isinstance(framing, Native) else "duplex"
