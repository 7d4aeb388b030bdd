"""What the messages of the other end bring."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from .call import Call

__all__ = ["Event", "Happened"]


class Event(enum.Enum):
    """What a message has brought."""

    NOTHING = "nothing"
    BOUND = "the server has taken the client"
    REFUSED = "the server has refused the client"
    REQUEST = "a call begins"
    PROGRESS = "something has come for a pipe"
    CREDIT = "a pipe has room for more"
    ANSWER = "a call is over"
    CANCEL = "a client wants a call to end"
    ORPHANED = "a client has given a call up"
    SHUTDOWN = "the other end begins no calls any more"


Happened: TypeAlias = "tuple[Event, Call | None]"
"""An event, and the call it is about."""
