"""The campaigns by name.

A campaign is a module with a docstring (its first line says what it attacks), and with

- ``NAME``: its name on the command line;
- ``run(seconds)``: runs for about that long and returns its figures as one line. It raises
  :class:`AssertionError` when an invariant does not hold. It runs in the main thread of a process
  that does nothing else, so that it may set signal handlers and the switch interval.
"""

from __future__ import annotations

from typing import Protocol

from . import (
    message_interrupts,
    opening_interrupts,
    rpc_kills,
    rpc_memory,
    rpc_signals,
    rpc_timeouts,
)

__all__ = ["CAMPAIGNS", "Campaign"]


class Campaign(Protocol):
    """A module with one campaign."""

    NAME: str
    __doc__: str | None

    def run(self, seconds: float) -> str: ...


_MODULES: tuple[Campaign, ...] = (
    message_interrupts,
    opening_interrupts,
    rpc_kills,
    rpc_memory,
    rpc_signals,
    rpc_timeouts,
)

CAMPAIGNS = {campaign.NAME: campaign for campaign in _MODULES}
