"""The contracts of message channels."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar

import trio

from ..errors import NotSupported
from .uncopied import Uncopied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..endpoint import Endpoint
    from .peer import PeerIdentity
    from .streams import HasFileno

ResultT = TypeVar("ResultT")


class MessageChannel(Uncopied, trio.abc.Channel[bytes]):
    """Messages in both directions: each arrives whole, once, and in order, or not at all.

    An empty message is a message. Memory is bounded: nothing above :attr:`max_size` is sent,
    received, or waited for.

    ``async for message in channel`` ends at the end of the channel.

    ``await aclose()`` closes the channel and what is below it, at once; what was sent before
    remains readable for the peer. Tasks inside the other methods are woken with
    :exc:`trio.ClosedResourceError`.

    Several tasks may send: they wait for each other, in the order in which they came, and no
    message gets into another. One task may receive.
    """

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint | None:
        """The endpoint that was connected to or listened on, ``None`` where there is none."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """Who is at the other end, as :attr:`Connection.peer` says it."""

    @property
    @abstractmethod
    def max_size(self) -> int:
        """The largest message in bytes, for sending and receiving."""

    @abstractmethod
    async def send(self, value: bytes | bytearray | memoryview) -> None:
        """Sends one message; returns when the system has taken all of it.

        Cancelled before any of it went out, it leaves the channel as it was. Cancelled later,
        or on Windows once the system has begun to write, it leaves the channel broken for
        sending, because the peer may have a part; receiving goes on.

        Args:
            value: 0 to :attr:`max_size` bytes, as bytes or contiguous memory. It must not
                change until this has returned.

        Raises:
            ipcpipes.MessageTooLarge: the message is above :attr:`max_size`, or above what the
                system can send in one; nothing went out, and the channel is as it was.
            ipcpipes.FramingError: the framing cannot carry this message; nothing went out.
            trio.BrokenResourceError: the peer closed its end or died (each time), or an earlier
                send was cancelled half-way.
            trio.ClosedResourceError: you closed the channel, or its sending half.
            TypeError: ``value`` is no bytes-like object, or not contiguous.
        """

    @abstractmethod
    async def send_many(self, values: Sequence[bytes | bytearray | memoryview]) -> None:
        """Sends these messages, in order, with nobody else's in between.

        Far cheaper for small ones than a :meth:`send` for each. None goes out when one of
        them is refused. Cancelled after the first byte went out, it leaves the channel broken
        for sending, as :meth:`send` does.

        Args:
            values: a sequence (a list, a tuple) of what :meth:`send` takes; an empty one sends
                nothing.

        Raises:
            What :meth:`send` raises. TypeError: ``values`` is one message, no sequence of them.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """Returns the next message. Cancelled, it loses nothing.

        Raises:
            trio.EndOfChannel: the peer closed its end or died after its last whole message;
                each time.
            trio.BrokenResourceError: what came cannot be a message, by the peer's fault; its
                ``__cause__`` is an :exc:`ipcpipes.FramingError`: :exc:`ipcpipes.MessageTooLarge`
                with both sizes, refused before the memory was taken, or
                :exc:`ipcpipes.IncompleteMessage` when the stream ended inside a message. Each
                time, after the messages before it.
            trio.ClosedResourceError: you closed the channel.
            trio.BusyResourceError: another task of yours is receiving.
        """

    @abstractmethod
    async def receive_many(self) -> list[bytes]:
        """Returns all messages that have come, at least one; waits for the first.

        Far cheaper for small ones than a :meth:`receive` for each. How many one call returns
        is bounded by what one read of the system gives.

        Raises:
            What :meth:`receive` raises.
        """

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        """As :meth:`Connection.run_as_client`: under the identity of who is at the other end."""
        raise NotSupported("this channel is not over a connection of the system's")

    @abstractmethod
    async def send_descriptors(
        self, value: bytes | bytearray | memoryview, descriptors: Sequence[int | HasFileno]
    ) -> None:
        """Sends one message as :meth:`send` does, and open descriptors with it.

        The peer gets them if it fetches the message with :meth:`receive_descriptors`; in any other
        way it receives the message alone.

        Windows: what is sent are handles. They are put into the peer's process (DuplicateHandle),
        which this process has to be allowed: as a rule, the peer runs as the same user, and not at
        a higher integrity level, or this process is elevated. The channels at both ends have to be
        made with ``max_descriptors=``, which puts a label before every message, as a message of its
        own for the framing; it has 7 bytes, and with handles 11 more and 9 for each at the most.
        When the system took nothing of the message, they are closed in the peer's process
        again. Broken or cancelled half-way, or sent to a peer that closes without having received
        the message, they may stay open there until that process ends.

        Args:
            value: as for :meth:`send`.
            descriptors: as for :meth:`ByteStream.send_descriptors`. Windows: ints are handles
                (HANDLE), of any kind, and of an object its ``fileno()`` is a descriptor of the C
                run-time. No sockets, which are not duplicated so (:meth:`socket.socket.share`).

        Raises:
            ipcpipes.NotSupported: no descriptors can go this way: over a stream that is not one of
                ipcpipes; or Windows does not say which process is at the other end.
            RuntimeError: Windows: the channel was made without ``max_descriptors=``, your
                program's mistake.
            PermissionError: Windows: this process may put no handles into the peer's; nothing
                went out.
            ipcpipes.MessageTooLarge: Windows: the label is above :attr:`max_size` too; nothing went
                out.
            OSError, TypeError, ValueError: these descriptors cannot be sent, as for
                :meth:`ByteStream.send_descriptors`; nothing went out.
            And all that :meth:`send` raises.
        """

    @abstractmethod
    async def receive_descriptors(self) -> tuple[bytes, list[int]]:
        """Returns the next message, and the descriptors that came with it.

        Only a channel that was made with ``max_descriptors=`` can: it reads ahead, and has to know
        before it does; without, the system drops them. Cancelled, it loses nothing. Descriptors of
        messages that are received in another way, or not before closing, are closed.

        A descriptor can be the peer's own end of this connection: while you keep it open, the
        system does not report that the peer has died. If a message with descriptors has arrived
        only in part, the next byte must arrive within 30 seconds. All channels of this process
        together hold at most a quarter of the descriptors that it may open (``ulimit -n``), but
        at least 253, with such parts; Windows: 65,536 handles.

        Windows: the numbers of handles are believed only from who has power over this process
        anyway: LocalSystem, the administrators' group as the owner of the pipe, and this user at
        our integrity level or above, where the system tells that of the peer's process. Those of
        messages that are not received before closing stay open until this process ends.

        Returns:
            The message and its descriptors, in the order in which they were sent; mostly none.
            They are close-on-exec, and yours: close them. Windows: handles, which are not
            inheritable (:func:`msvcrt.open_osfhandle` makes a descriptor of a file's).

        Raises:
            RuntimeError: the channel was made without ``max_descriptors=``, your program's
                mistake.
            trio.BrokenResourceError: by the peer's fault, more than ``max_descriptors`` came with
                one message, or the rest of their message did not arrive in time; or the limit for
                incomplete messages is reached; or this process may open no more descriptors
                (RLIMIT_NOFILE). The descriptors are closed, and nothing can be received any more.
                It is :exc:`ipcpipes.DescriptorsLost` where the system has closed them: they came
                at once, or this process may open no more.
                Windows: also a message without a label, because the peer's channel was made
                without ``max_descriptors=``; and handles that are not believed, or do not exist,
                which are left alone.
            And all that :meth:`receive` raises.
        """


class HalfCloseableMessageChannel(MessageChannel):
    """A channel that can end what it sends and go on receiving.

    Over a Windows pipe there is none, so that a channel there is only a
    :class:`MessageChannel`; a message that says so does the same everywhere.
    """

    @abstractmethod
    async def send_eof(self) -> None:
        """Ends what this end sends: the peer gets :exc:`trio.EndOfChannel` after the last
        message. Senders that came earlier are waited for. Twice is as good as once.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: an earlier send was cancelled half-way; the end would
                make the part look like the whole.
        """
