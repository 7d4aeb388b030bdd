"""The abstract classes of message channels."""

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

    An empty message is a message. Memory is bounded: the channel refuses to send a message above
    :attr:`max_size`, and does not receive one.

    ``async for message in channel`` ends at the end of the channel.

    ``await aclose()`` closes the channel and the stream below it. The peer can still read what was
    sent before. Tasks inside the other methods get :exc:`trio.ClosedResourceError`. First the
    messages of :meth:`send_nowait` that the system has not accepted yet are sent, for at most 5
    seconds. What is not sent by then is lost: ``aclose`` closes the channel, and then raises
    :exc:`trio.BrokenResourceError`. At the end of ``async with``, an exception of the block takes
    precedence. If ``aclose`` is cancelled, it closes at once.

    The channels of ipcpipes also have ``fileno()`` (POSIX) or ``handle`` (Windows): the number by
    which the system knows the connection; and ``detach()``, which gives the open connection to
    another owner.

    Several tasks may send at once: they take turns in the order of their calls, and the bytes of
    their messages do not mix. Only one task may receive at a time.
    """

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint | None:
        """The endpoint of this connection; ``None`` over a stream that has none."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """The identity of the process at the other end. It is looked up once.

        Raises:
            trio.ClosedResourceError: this is the first use, and the channel is closed.
        """

    @property
    @abstractmethod
    def max_size(self) -> int:
        """The largest message in bytes, for sending and receiving."""

    @abstractmethod
    async def send(self, value: bytes | bytearray | memoryview) -> None:
        """Sends one message; returns when the system has accepted all of it.

        If it is cancelled before the first byte was sent, the channel stays as it was. If it is
        cancelled later, or on Windows after the system has begun to write, the channel is broken
        for sending, because the peer may have received a part of the message. Receiving still
        works.

        Args:
            value: 0 to :attr:`max_size` bytes, as bytes or contiguous memory. Do not change it
                before this method returns.

        Raises:
            ipcpipes.MessageTooLarge: the message is larger than :attr:`max_size`, or than the
                system can send in one piece. Nothing was sent; the channel is as it was.
            ipcpipes.FramingError: the framing cannot carry this message. Nothing was sent.
            trio.BrokenResourceError: the peer closed its end or died (raised at every call), or
                an earlier send was cancelled half-way.
            trio.ClosedResourceError: you closed the channel, or its sending half.
            TypeError: ``value`` is not a bytes-like object, or is not contiguous.
        """

    @abstractmethod
    async def send_many(self, values: Sequence[bytes | bytearray | memoryview]) -> None:
        """Sends several messages in order; messages of other tasks do not come between them.

        For small messages this is far cheaper than one :meth:`send` for each. If one of them is
        refused, none is sent. If it is cancelled after the first byte was sent, the channel is
        broken for sending, as with :meth:`send`.

        Args:
            values: a sequence (a list, a tuple) of messages as :meth:`send` takes them. An empty
                sequence sends nothing.

        Raises:
            TypeError: ``values`` is one message instead of a sequence of messages.
            And all that :meth:`send` raises.
        """

    @abstractmethod
    def send_nowait(self, value: bytes | bytearray | memoryview) -> None:
        """Takes one message without waiting, and sends it soon. This is not a checkpoint.

        A message goes to the system at once, or together with others in the next pass of trio's
        scheduler; for small messages this is far cheaper than one :meth:`send` for each. If the
        system has no room, a system task of trio sends them as soon as there is room. The messages
        of all methods keep their order. Call it only in the thread that runs trio.

        If a gathered message cannot be sent, the next call that sends, or ``aclose``, raises the
        error.

        On Windows, and over a stream that ipcpipes did not make, no write can be tried without
        waiting. There, a system task sends every message.

        Args:
            value: 0 to :attr:`max_size` bytes, as bytes or contiguous memory. Memory that can
                change is copied, so it may change as soon as this method has returned.

        Raises:
            trio.WouldBlock: 32 KiB of messages are gathered (64 bytes are added to the size of
                each), or another task is sending. Nothing was taken. ``await channel.send(value)``
                waits for its turn.
            ipcpipes.MessageTooLarge: the message is larger than :attr:`max_size`. Nothing was
                taken; the channel is as it was.
            ipcpipes.FramingError: the framing cannot carry this message. Nothing was taken.
            trio.BrokenResourceError: the peer closed its end or died, or an earlier send was
                cancelled half-way. If messages of this method were not sent, the error text says
                how many.
            trio.ClosedResourceError: you closed the channel, or its sending half.
            TypeError: ``value`` is not a bytes-like object, or is not contiguous.
        """

    @abstractmethod
    async def wait_sent(self) -> None:
        """Waits until the system has accepted all messages that :meth:`send_nowait` has taken. They
        are sent even if this is cancelled. If another task is sending, this waits until that task
        has finished. Then :meth:`send_nowait` takes one message of any size, unless another task
        has been faster.

        Raises:
            trio.BrokenResourceError: they cannot be sent, as for :meth:`send_nowait`.
            trio.ClosedResourceError: you closed the channel.
        """

    @abstractmethod
    async def transact(self, value: bytes | bytearray | memoryview) -> bytes:
        """Sends one message and returns the next message that arrives, the reply. Usually this is a
        single checkpoint.

        This is the cheapest way to ask a peer that answers each message with one message. It is
        named after TransactNamedPipe.

        If it is cancelled before the message was taken, nothing is sent. If it is cancelled later,
        the message is sent all the same, and the channel discards the reply: no later call returns
        it. On Windows, and over a stream that ipcpipes did not make, a call that is cancelled while
        it sends leaves the channel broken, as :meth:`send` does.

        Args:
            value: as for :meth:`send`.

        Returns:
            The reply.

        Raises:
            trio.BusyResourceError: another task of your program is receiving. Nothing was sent.
            And all that :meth:`send` and :meth:`receive` raise.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """Returns the next message. A cancelled call loses nothing.

        Raises:
            trio.EndOfChannel: the peer closed its end or died after its last whole message.
                Raised at every call from then on.
            trio.BrokenResourceError: the peer sent something that is not a message. The messages
                before it are returned first; then this is raised at every call. ``__cause__`` is
                an :exc:`ipcpipes.FramingError`: :exc:`ipcpipes.MessageTooLarge` with both sizes
                (memory was not allocated for it), or :exc:`ipcpipes.IncompleteMessage` when the
                stream ended inside a message.
            trio.ClosedResourceError: you closed the channel.
            trio.BusyResourceError: another task of your program is receiving.
        """

    @abstractmethod
    async def receive_many(self) -> list[bytes]:
        """Returns the messages that have arrived, at least one; waits for the first one.

        For small messages this is far cheaper than one :meth:`receive` for each. One call returns
        at most the messages of one read from the system. A cancelled call loses nothing.

        Raises:
            trio.EndOfChannel: the peer closed its end or died after its last whole message.
                Raised at every call from then on.
            trio.BrokenResourceError: the peer sent something that is not a message, as for
                :meth:`receive`.
            trio.ClosedResourceError: you closed the channel.
            trio.BusyResourceError: another task of your program is receiving.
        """

    @abstractmethod
    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        """Receives the next message into ``buffer``, for a program that uses the same memory for
        all messages, or an array that exists already. A cancelled call loses nothing.

        The channel reads ahead, so the bytes are copied once, from its own memory.

        Args:
            buffer: writable, contiguous memory of one byte or more. Only the bytes of the message
                are changed, and not before the whole message has arrived.

        Returns:
            The size of the message in bytes; 0 is an empty message, not the end.

        Raises:
            ipcpipes.MessageTooLarge: the message does not fit into ``buffer``; ``size`` is its size
                and ``max_size`` that of ``buffer``. Nothing is lost: the message stays in the
                channel, and the next call of any receiving method returns it.
            TypeError: ``buffer`` is not a bytes-like object.
            ValueError: ``buffer`` is read-only, not contiguous, or empty.
            And all that :meth:`receive` raises.
        """

    @abstractmethod
    def receive_nowait(self) -> bytes:
        """Returns the next message if it has arrived. This is not a checkpoint.

        Over a stream that ipcpipes did not make, nothing can be read without waiting. There it
        returns only messages that were received together with an earlier one.

        Raises:
            trio.WouldBlock: no whole message can be returned without waiting.
            And all that :meth:`receive` raises.
        """

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        """Runs ``fn(*args)`` under the identity of the client, in a thread of its own.

        Use this in a server that does something for a client and wants the system to decide whether
        the client may do it. :meth:`Connection.run_as_client`, which does the same for a stream,
        describes the limits of such functions on each system; read it before you use this.

        Args:
            fn: a function, not an async one. Its exception is raised here.
            args: its arguments.

        Returns:
            The result of ``fn``.

        Raises:
            ipcpipes.ImpersonationRefused: the client does not allow it, or this process lacks the
                privilege.
            ipcpipes.NotSupported: macOS and the BSDs cannot do it, and neither can a channel over
                a stream that ipcpipes did not make.
            RuntimeError: this connection was not accepted by a listener, so it has no client.
            trio.ClosedResourceError: this end is closed.
        """
        raise NotSupported(
            "this channel has no client to act for; use a channel that a listener has accepted"
        )

    @abstractmethod
    async def send_descriptors(
        self, value: bytes | bytearray | memoryview, descriptors: Sequence[int | HasFileno]
    ) -> None:
        """Sends one message as :meth:`send` does, and open descriptors with it.

        The peer receives them if it takes the message with :meth:`receive_descriptors`; all other
        methods return only the message.

        Windows: handles are sent instead of descriptors. This process duplicates them into the
        peer's process (DuplicateHandle) and needs the right to do so: usually the peer runs as the
        same user and not at a higher integrity level, or this process is elevated. The channels at
        both ends must be made with ``max_descriptors=``. This puts a header before every message,
        which the framing carries as a message of its own; it has 7 bytes, and with handles 11 more
        and at most 9 for each handle. If the system accepted nothing of the message, the handles
        are closed in the peer's process again. If sending breaks or is cancelled half-way, or the
        peer closes without having received the message, the handles may stay open there until that
        process ends.

        Args:
            value: 0 to :attr:`max_size` bytes, as for :meth:`send`.
            descriptors: 1 to 253 ints, or objects with ``fileno()``; they must stay open until this
                method returns. Windows: an int is a handle (HANDLE) of any kind, and ``fileno()``
                returns a descriptor of the C run-time. Sockets cannot be duplicated in this way
                (use :meth:`socket.socket.share`).

        Raises:
            ipcpipes.NotSupported: descriptors cannot be sent here: the channel is over a stream
                that ipcpipes did not make, or Windows does not tell which process is the peer.
            RuntimeError: Windows: the channel was made without ``max_descriptors=``; your
                program's mistake.
            PermissionError: Windows: this process may not duplicate handles into the peer's.
                Nothing was sent.
            ipcpipes.MessageTooLarge: Windows: the header is larger than :attr:`max_size`. Nothing
                was sent.
            OSError, TypeError, ValueError: these descriptors cannot be sent, as for
                :meth:`ByteStream.send_descriptors`. Nothing was sent.
            And all that :meth:`send` raises.
        """

    @abstractmethod
    async def receive_descriptors(self) -> tuple[bytes, list[int]]:
        """Returns the next message and the descriptors that came with it.

        The channel must be made with ``max_descriptors=``: it reads ahead, and the system drops
        the descriptors of a read that does not ask for them. A cancelled call loses nothing.
        Descriptors of messages that another method receives, or that are not received before
        closing, are closed.

        A descriptor can be the peer's own end of this connection: while you keep it open, the
        system does not report that the peer has died. If a message with descriptors has arrived
        only in part, the next byte must arrive within 30 seconds. All channels of this process
        together hold at most a quarter of the descriptors that it may open (``ulimit -n``), but
        at least 253, with such parts; Windows: 65,536 handles.

        Windows: this end accepts handle numbers only from a peer that has power over this process
        anyway: LocalSystem; the administrators' group as the owner of the pipe; and this user at
        the integrity level of this process or above, where the system tells the level of the
        peer's process. Handles of messages that are not received before closing stay open until
        this process ends.

        Returns:
            The message and its descriptors in the order in which they were sent; usually none.
            They are close-on-exec and belong to you: close them. Windows: handles, which are not
            inheritable (:func:`msvcrt.open_osfhandle` makes a descriptor from the handle of a
            file).

        Raises:
            RuntimeError: the channel was made without ``max_descriptors=``; your program's
                mistake.
            trio.BrokenResourceError: the peer sent more than ``max_descriptors`` with one message,
                or did not send the rest of the message in time; or the limit for incomplete
                messages is reached; or this process cannot open more descriptors (RLIMIT_NOFILE).
                The descriptors are closed, and the channel cannot receive any more. It is
                :exc:`ipcpipes.DescriptorsLost` if the system has closed them: they came at once,
                or this process cannot open more.
                Windows: also a message without a header, because the peer's channel was made
                without ``max_descriptors=``; and handles that this end does not accept or that do
                not exist; these are left alone.
            And all that :meth:`receive` raises.
        """


class HalfCloseableMessageChannel(MessageChannel):
    """A channel that can end its sending half and continue to receive.

    A Windows pipe has no half-close, so a channel over one is only a :class:`MessageChannel`. To
    end a conversation on every system, define a message of your own that means "the end".
    """

    @abstractmethod
    async def send_eof(self) -> None:
        """Ends the sending half: the peer gets :exc:`trio.EndOfChannel` after the last message.

        It waits for sends that began earlier. Idempotent.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: an earlier send was cancelled half-way; with an end after it,
                the part of the message could be taken for the whole.
        """
