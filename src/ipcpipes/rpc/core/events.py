"""The events of a connection and its calls, and the interfaces that a driver implements to react to
them.

The core decides which waiters wake, which work stops and what the user is told. A driver only
carries this out: it reschedules tasks or wakes threads.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from .call import Call

__all__ = ["CallEvent", "CallOwner", "Event", "Happened", "Notify", "SessionOwner"]


class Event(enum.Enum):
    """The effect of a received frame."""

    NOTHING = "nothing"
    BOUND = "the server has accepted the client"
    REFUSED = "the server has refused the client"
    REQUEST = "a call begins"
    PROGRESS = "data of a pipe or a stream has arrived"
    CREDIT = "the peer accepts more data of a pipe or a stream, or no more"
    ANSWER = "a call has ended"
    CANCEL = "the client asks for the end of a call"
    ORPHANED = "the client has given up a call"
    SHUTDOWN = "the peer begins no more calls"


Happened: TypeAlias = "tuple[Event, Call | None]"
"""An event, and the call it is about."""


class CallEvent(enum.Enum):
    """The argument of ``notify`` (RPC_ASYNC_EVENT in rpcasync.h).

    Attributes:
        CALL_COMPLETE: the call is over; ``complete()`` does not wait.
        SEND_COMPLETE: the system has taken what was pushed or sent.
        RECEIVE_COMPLETE: elements of a pipe or values of a stream have arrived, or its end.
    """

    CALL_COMPLETE = "the call is over; complete() does not wait"
    SEND_COMPLETE = "the system has taken what was pushed or sent"
    RECEIVE_COMPLETE = "elements of a pipe or values of a stream have arrived, or its end"


Notify: TypeAlias = Callable[[CallEvent], object]


class CallOwner(Protocol):
    """The object of a driver that waits for a call."""

    def wake(self) -> None:
        """Wakes all waiters for this call. A waiter may find that nothing has changed for it."""

    def stop(self) -> None:
        """Cancels the work for this call at this end, if the driver can do that. This is called
        when the call has failed, after :meth:`wake`.
        """

    def notify(self, event: CallEvent) -> None:
        """Arranges that the user's ``notify`` function is called. Exceptions of that function are
        logged.
        """


class SessionOwner(Protocol):
    """The object of a driver that waits for a connection."""

    def wake_callers(self) -> None:
        """Wakes all waiters that wait until the client is bound, or until they may begin a call."""

    def wake_caller(self) -> None:
        """Wakes a waiter that waits until it may begin a call, because one call has ended. A waiter
        that does not begin its call wakes another one.
        """

    def wake_senders(self) -> None:
        """Wakes all waiters that wait until there is less to send. This is called when the
        connection has failed, before its calls are stopped, so that a waiter raises the
        connection's error and not a cancellation.
        """
