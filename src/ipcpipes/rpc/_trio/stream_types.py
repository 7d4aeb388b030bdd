"""The types of stream parameters, for the signatures of operations, and for the ends of streams
that a manager gets.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TypeVar

import trio

from ..definition.stream_types import StreamType

__all__ = ["InStream", "OutStream"]

T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class InStream(StreamType, trio.abc.ReceiveChannel[T_co], implementation=True):
    """A stream of values to the server: ``lines: rpc.InStream[str]``. A value can have any type
    that a parameter can have.

    The manager receives. It is a :class:`trio.abc.ReceiveChannel`. If the manager does not receive,
    the client waits; the values do not accumulate in the server's memory.

    The manager need not receive all values: when it returns, or closes the stream, the client stops
    sending.
    """

    _into = True

    @abstractmethod
    async def receive(self) -> T_co:
        """Waits for the next value. A cancelled receive loses nothing.

        Raises:
            trio.EndOfChannel: the client has sent all values.
            trio.ClosedResourceError: this end was closed. The manager's mistake.
            trio.BusyResourceError: another task is receiving from this stream.
            rpc.BadStubData: the client has sent a value that is not of the stream's type, or
                exceeds a limit of arguments. The call fails.
            rpc.CallCancelled: the client cancelled the call.
            rpc.CommFailure: the client died, or closed its connection. Values may be missing.
            rpc.InvalidAsyncHandle: the call is over.
        """

    @abstractmethod
    async def receive_many(self) -> list[T_co]:
        """Waits for values, and returns those that have arrived, 1 or more. For many small values
        this takes much less time than :meth:`receive`.

        Raises:
            What :meth:`receive` raises.
        """

    @abstractmethod
    def receive_nowait(self) -> T_co:
        """Returns the next value if it has arrived.

        Raises:
            trio.WouldBlock: no value has arrived.
            And what :meth:`receive` raises.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Leaves the stream: the other end stops sending, and values that have arrived are dropped.
        The call continues. Idempotent.
        """


class OutStream(StreamType, trio.abc.SendChannel[T_contra], implementation=True):
    """A stream of values to the client: ``progress: rpc.OutStream[Progress]``. A value can have any
    type that a result can have.

    The manager sends. It is a :class:`trio.abc.SendChannel`. The stream ends when the manager
    closes it, and when the manager returns.
    """

    _into = False

    @abstractmethod
    async def send(self, value: T_contra) -> None:
        """Sends a value. It waits while the client or the connection accepts no more. A cancelled
        send has sent nothing.

        Args:
            value: not changed and not referred to after the call. At most what the client accepts
                in a frame, its ``max_frame``.

        Raises:
            rpc.StreamStopped: the client needs no more values. If this exception leaves the manager
                of an operation without a result, the call ends as if the manager had returned.
            trio.ClosedResourceError: this end was closed. The manager's mistake.
            trio.BusyResourceError: another task is sending into this stream.
            TypeError, ValueError, OverflowError: the value cannot be sent, or is too large.
            rpc.CallCancelled: the client cancelled the call.
            rpc.CommFailure: the client died, or closed its connection.
            rpc.InvalidAsyncHandle: the call is over.
        """

    @abstractmethod
    async def send_many(self, values: Iterable[T_contra]) -> None:
        """Sends several values. For many small values this takes much less time than :meth:`send`.
        If it is cancelled, the first values may have been sent, each of them once.

        Raises:
            What :meth:`send` raises.
        """

    @abstractmethod
    def send_nowait(self, value: T_contra) -> None:
        """Sends a value without waiting.

        Raises:
            trio.WouldBlock: the client or the connection accepts no more; nothing was sent.
            And what :meth:`send` raises.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Ends the stream. The call continues. Idempotent."""
