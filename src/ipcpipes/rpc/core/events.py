"""What happens to a connection and its calls, and the interfaces that a driver implements for it.

The core decides which waiters wake, which work stops and what the user is told. A driver only knows
how: it reschedules tasks or wakes threads.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from .call import Call

__all__ = ["CallEvent", "CallOwner", "Event", "Happened", "Notify", "SessionOwner"]


class Event(enum.Enum):
    """What a frame has brought."""

    NOTHING = "nothing"
    BOUND = "the server has accepted the client"
    REFUSED = "the server has refused the client"
    REQUEST = "a call begins"
    PROGRESS = "data of a pipe has arrived"
    CREDIT = "the peer accepts more data of a pipe"
    ANSWER = "a call has ended"
    CANCEL = "the client asks for the end of a call"
    ORPHANED = "the client has given up a call"
    SHUTDOWN = "the peer begins no more calls"


Happened: TypeAlias = "tuple[Event, Call | None]"
"""An event, and the call it is about."""


class CallEvent(enum.Enum):
    """What ``notify`` is called with (RPC_ASYNC_EVENT in rpcasync.h)."""

    CALL_COMPLETE = "the call is over; complete() does not wait"
    SEND_COMPLETE = "the system has taken what was pushed"
    RECEIVE_COMPLETE = "elements of a pipe have arrived, or its end"


Notify: TypeAlias = Callable[[CallEvent], object]


class CallOwner(Protocol):
    """What waits for a call, in a driver."""

    def wake(self) -> None:
        """Wakes all that waits for this call. It may look again in vain."""

    def stop(self) -> None:
        """Cancels the work that is done for this call at this end, if the driver can do that: the
        call has failed. :meth:`wake` came before.
        """

    def notify(self, event: CallEvent) -> None:
        """Has the user's ``notify`` function called. Its exceptions are logged."""


class SessionOwner(Protocol):
    """What waits for a connection, in a driver."""

    def wake_callers(self) -> None:
        """Wakes all that waits until a client is bound, or until it may begin a call."""

    def wake_senders(self) -> None:
        """Wakes all that waits until there is less to send. The connection has failed. This comes
        before calls stop, so that a waiter raises the connection's error and not a cancellation.
        """
