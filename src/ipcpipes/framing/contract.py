"""The base classes of framings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from ..errors import FramingError

Buffer = bytes | bytearray | memoryview
"""What can be sent: bytes, or contiguous memory that must not change while it is sent."""


class Splitter(ABC):
    """Cuts the received bytes into messages. Each channel has one, with the state of that channel.

    Invariant: any bytes, cut in any way into calls of :meth:`split`, give messages or a
    :exc:`ipcpipes.FramingError`, and nothing else. It holds no more memory than ``max_size`` and a
    constant, whatever length the peer announces. After an error it is not used again.
    """

    @abstractmethod
    def split(self, data: bytes) -> Iterable[bytes]:
        """Takes the next received bytes and returns the messages that are complete now.

        Args:
            data: one byte or more.

        Raises:
            ipcpipes.FramingError: the bytes are not a message. It may be raised while the result
                is iterated; the messages before it are valid.
        """

    def only(self, data: bytes) -> bytes | None:
        """If ``data`` is exactly one message, returns the message; otherwise ``None``, and the
        channel calls :meth:`split`.

        A channel calls this first, because most messages arrive one at a time. It does not change
        the splitter, so an exception in the middle of it loses nothing. ``None``, which the default
        implementation always returns, is always correct.

        Args:
            data: the next received bytes, possibly none.
        """
        return None

    @abstractmethod
    def end(self) -> Iterable[bytes] | None:
        """Called when the stream has ended, and again at each receive after that.

        Returns:
            The messages that the end of the stream completes, or ``None`` for no messages, which
            is usual.

        Raises:
            ipcpipes.FramingError: the stream must not end here: :exc:`ipcpipes.IncompleteMessage`
                if it ended inside a message.
        """

    def has_part(self) -> bool:
        """Returns whether this holds a part of a message. A channel calls it before it gives up its
        connection (``detach``), because the next owner would not get that part.

        Raises:
            NotImplementedError: the default implementation, which cannot know. The channel cannot
                be detached then.
        """
        raise NotImplementedError("this splitter does not tell whether it has a part of a message")

    def get_buffer(self) -> memoryview | None:
        """Returns memory for the rest of a large message. The channel receives directly into it
        and then calls :meth:`buffer_updated` instead of :meth:`split`, which saves a copy.

        ``None``, which the default implementation always returns, means that the next bytes go to
        :meth:`split`. (The names of this pair are those of :class:`asyncio.BufferedProtocol`.)
        """
        return None

    def buffer_updated(self, nbytes: int) -> Iterable[bytes]:
        """Called when ``nbytes`` were received into the memory of :meth:`get_buffer`.

        Args:
            nbytes: 1 or more; they are at the beginning of that memory.

        Returns:
            The messages that are complete now, as for :meth:`split`.

        Raises:
            ipcpipes.FramingError: the bytes are not a message, as for :meth:`split`.
        """
        raise NotImplementedError("this splitter has no buffer; get_buffer returns None")


class Framing(ABC):
    """How messages are told apart in a stream: an immutable value, for any number of channels.

    A framing of your own defines ``max_size``, :meth:`frame` and :meth:`splitter`.

    Attributes:
        max_size: the largest message in bytes. A channel refuses to send a larger one before it
            calls :meth:`frame`; a splitter refuses it before it allocates memory for it.
    """

    max_size: int

    @abstractmethod
    def frame(self, message: Buffer) -> Sequence[Buffer]:
        """Returns the bytes to send for one message, as pieces.

        Args:
            message: ``bytes``, or a ``memoryview`` of bytes. Return it as it is among the pieces,
                because a large one is sent without a copy.

        Raises:
            ipcpipes.FramingError: this message cannot be framed; nothing is sent then.
        """

    @abstractmethod
    def splitter(self) -> Splitter:
        """Returns a new splitter for one channel."""

    def join(self, messages: Sequence[Buffer]) -> bytes | bytearray:
        """Returns the bytes to send for several messages, in one piece.

        Raises:
            ipcpipes.FramingError: one of the messages cannot be framed; nothing is sent then.
        """
        return b"".join([piece for message in messages for piece in self.frame(message)])


def then_raise(messages: Iterable[bytes], error: FramingError) -> Iterator[bytes]:
    """Yields the messages before a fault, and then raises the fault."""
    yield from messages
    raise error
