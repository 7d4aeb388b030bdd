"""Why a listener has no client to give, the same on every system."""

from __future__ import annotations

import enum


class AcceptStatus(enum.Enum):
    """What stands in the way of the next accept."""

    NOBODY = enum.auto()
    """No client is there."""
    FULL = enum.auto()
    """``max_instances`` connections are open."""
    VANISHED = enum.auto()
    """There was a client, who has left or may not come in."""
    EXHAUSTED = enum.auto()
    """The system is out of descriptors or memory."""


EXHAUSTION_PAUSE = 0.05
"""Seconds until another attempt: no system tells when it has some again."""
