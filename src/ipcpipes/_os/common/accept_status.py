"""Why a listener cannot accept a client now; the same on every system."""

from __future__ import annotations

import enum


class AcceptStatus(enum.Enum):
    """Why an accept returned no connection."""

    NO_CLIENT = enum.auto()
    """No client is waiting."""
    FULL = enum.auto()
    """``max_instances`` connections are open."""
    VANISHED = enum.auto()
    """There was a client; it has left, or it is refused."""
    EXHAUSTED = enum.auto()
    """The system is out of descriptors or memory."""


EXHAUSTION_PAUSE = 0.05
"""Seconds until the next attempt: no system tells when descriptors or memory are free again."""
