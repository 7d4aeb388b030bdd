"""The contracts of message channels without an event loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...abc import HasFileno, PeerIdentity
    from ...endpoint import Endpoint

ResultT = TypeVar("ResultT")


class MessageChannel(Protocol):
    """Messages in both directions: each arrives whole, once, and in order, or not at all.

    An empty message is a message. Memory is bounded: nothing above :attr:`max_size` is sent,
    received, or waited for.

    ``for message in channel`` ends at the end of the channel.

    The channels of ipcpipes also have ``fileno()`` (POSIX) or ``handle`` (Windows): the number by
    which the system knows the connection; and ``detach()``, which gives the open connection to
    another owner.

    Several threads may send: they wait for each other, and their messages do not mix. One thread
    may receive, also while others send.
    """

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint | None:
        """The endpoint that was connected to or listened on; ``None`` for a stream without one."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """The identity of the peer. The system is asked once."""

    @property
    @abstractmethod
    def max_size(self) -> int:
        """The largest message in bytes, for sending and receiving."""

    @abstractmethod
    def send(self, value: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """Sends one message; returns when the system has taken all of it.

        Args:
            value: 0 to :attr:`max_size` bytes, as bytes or contiguous memory. It must not
                change until this has returned.
            timeout: seconds, 0 or more, which include waiting for other threads that are sending;
                ``None`` waits for ever.

        Raises:
            TimeoutError: not all was sent in time. If a part was sent, the channel is broken for
                sending from now on.
            ipcpipes.MessageTooLarge: the message is larger than :attr:`max_size`, or than the
                system can send at once; nothing was sent, and the channel is unchanged.
            ipcpipes.FramingError: the framing cannot carry this message; nothing was sent.
            trio.BrokenResourceError: the peer closed its end or died (each time), or an earlier
                send was ended half-way by its timeout or by a signal handler.
            trio.ClosedResourceError: you closed the channel, or its sending half.
            TypeError: ``value`` is not a bytes-like object, or not contiguous.
            TypeError, ValueError: ``timeout`` is not a number of seconds, or negative.
        """

    @abstractmethod
    def send_many(
        self,
        values: Sequence[bytes | bytearray | memoryview],
        *,
        timeout: float | None = None,
    ) -> None:
        """Sends these messages, in order, without another thread's messages in between.

        For small messages this is much cheaper than a :meth:`send` for each. If one of them is
        refused, none is sent. If the timeout passes after the first byte was sent, the channel is
        broken for sending, as with :meth:`send`.

        Args:
            values: a sequence (a list, a tuple) of messages; an empty one sends nothing.
            timeout: seconds, 0 or more, for all of them together; ``None`` waits for ever.

        Raises:
            TypeError: ``values`` is one message, and not a sequence of messages.
            And everything that :meth:`send` raises.
        """

    @abstractmethod
    def transact(
        self, value: bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> bytes:
        """Sends one message and receives one, the reply.

        This is for a peer that answers each message with one message. The reply is the next message
        that is received. It is named after TransactNamedPipe.

        If it ends after the message was sent and before the reply has come, the peer still owes the
        reply. The channel discards this one message when it arrives: the next receiving method, or
        the next ``transact``, does not return it.

        Args:
            value: as for :meth:`send`.
            timeout: seconds, 0 or more, for both together; ``None`` waits for ever.

        Returns:
            The reply.

        Raises:
            TimeoutError: the message was not sent in time, as for :meth:`send`, or the reply has
                not come in time.
            trio.BusyResourceError: another thread of yours is receiving. Nothing was sent.
            And everything that :meth:`send` and :meth:`receive` raise. A signal handler that raises
            while the message is sent leaves the channel broken for receiving, because a reply may
            come.
        """

    @abstractmethod
    def receive(self, *, timeout: float | None = None) -> bytes:
        """Returns the next message.

        Args:
            timeout: seconds, 0 or more; ``None`` waits for ever. A part of a message that has
                arrived when it passes is kept for the next call.

        Raises:
            TimeoutError: no whole message has arrived in time; nothing is lost.
            trio.EndOfChannel: the peer closed its end or died after its last whole message;
                each time.
            trio.BrokenResourceError: the peer has sent bytes that are not a message. The
                ``__cause__`` is an :exc:`ipcpipes.FramingError`: :exc:`ipcpipes.MessageTooLarge`
                with both sizes, raised before the memory is allocated, or
                :exc:`ipcpipes.IncompleteMessage` when the stream ended inside a message. If it has
                no cause, a signal handler interrupted an earlier receive in the middle of a step.
                Raised each time, after the messages before it.
            trio.ClosedResourceError: you closed the channel.
            trio.BusyResourceError: another thread of yours is receiving.
            TypeError, ValueError: ``timeout`` is not a number of seconds, or negative.
        """

    @abstractmethod
    def receive_many(self, *, timeout: float | None = None) -> list[bytes]:
        """Returns all messages that have arrived, at least one; waits for the first.

        For small messages this is much cheaper than a :meth:`receive` for each. One call returns at
        most the messages of one read of the system.

        Args:
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Raises:
            What :meth:`receive` raises.
        """

    @abstractmethod
    def receive_into(self, buffer: bytearray | memoryview, *, timeout: float | None = None) -> int:
        """Receives the next message into ``buffer``, for a program that uses the same memory for
        all messages, or an array that exists already.

        The channel reads ahead, so the bytes are copied once, from its own memory.

        Args:
            buffer: writable, contiguous memory of one byte or more. Only the bytes of the message
                are changed, and not before the whole message has arrived.
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Returns:
            The size of the message in bytes; 0 is an empty message, not the end.

        Raises:
            ipcpipes.MessageTooLarge: the message does not fit into ``buffer``; ``size`` is its size
                and ``max_size`` that of ``buffer``. Nothing is lost: the message stays in the
                channel, and the next call of any receiving method returns it.
            TypeError: ``buffer`` is not a bytes-like object.
            ValueError: ``buffer`` is read-only, not contiguous, or empty.
            And everything that :meth:`receive` raises.
        """

    @abstractmethod
    def send_descriptors(
        self,
        value: bytes | bytearray | memoryview,
        descriptors: Sequence[int | HasFileno],
        *,
        timeout: float | None = None,
    ) -> None:
        """Sends one message as :meth:`send` does, and open descriptors (Windows: handles) with it.

        The peer gets them if it receives the message with :meth:`receive_descriptors`; otherwise it
        receives the message alone. On Windows the channels at both ends need ``max_descriptors=``.
        See :meth:`ipcpipes.abc.MessageChannel.send_descriptors` for the arguments, the errors and
        how each system does it.
        """

    @abstractmethod
    def receive_descriptors(self, *, timeout: float | None = None) -> tuple[bytes, list[int]]:
        """Returns the next message, and the descriptors (Windows: handles) that came with it.

        Only a channel that was made with ``max_descriptors=`` can do this. The descriptors are
        yours: close them. See :meth:`ipcpipes.abc.MessageChannel.receive_descriptors` for the
        errors and how each system does it.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the channel and what is below it, at once, and wakes the threads inside.

        The peer can still read what was sent before. Idempotent.
        """

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self.receive()
        except trio.EndOfChannel:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        """Runs ``fn(*args)`` under the client's identity; see :meth:`Connection.run_as_client`."""


class HalfCloseableMessageChannel(MessageChannel, Protocol):
    """A channel that can end its sending half and continue to receive.

    A channel over a Windows pipe cannot do this.
    """

    @abstractmethod
    def send_eof(self) -> None:
        """Ends this end's sending half: the peer gets :exc:`trio.EndOfChannel` after the last
        message. Waits for threads that are sending. Idempotent.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: an earlier send was ended half-way; an end after it would make
                the part look like a whole message.
        """
