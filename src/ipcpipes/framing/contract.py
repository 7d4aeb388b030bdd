"""What a framing is: a value that says how messages are told apart in a stream of bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from ..errors import FramingError

Buffer = bytes | bytearray | memoryview
"""What can be sent: bytes, or contiguous memory that is borrowed while it is sent."""


class Splitter(ABC):
    """Cuts what is received into messages; one for each channel, with the state of that channel.

    Invariant: any bytes, cut in any way into calls of :meth:`split`, give messages or a
    :exc:`ipcpipes.FramingError`, and nothing else; and it holds no more memory than
    ``max_size`` and a constant, whatever length is announced. After an error it is not used
    again.
    """

    @abstractmethod
    def split(self, data: bytes) -> Iterable[bytes]:
        """Takes what came next, and gives the messages that are whole now.

        Args:
            data: one byte or more.

        Raises:
            ipcpipes.FramingError: these bytes are no message. It may come while the result is
                iterated: the messages before it are good.
        """

    def only(self, data: bytes) -> bytes | None:
        """If ``data`` is exactly one message, returns the message; otherwise ``None``, and the
        channel calls :meth:`split`.

        A channel calls this first, because messages mostly arrive one at a time. It does not change
        the splitter, so an exception in the middle of it loses nothing. ``None``, which the default
        implementation always returns, is always correct.

        Args:
            data: the bytes that came next, perhaps none.
        """
        return None

    @abstractmethod
    def end(self) -> Iterable[bytes] | None:
        """Called when the stream has ended, and again at each receive after that.

        Returns:
            The messages that the end of the stream completes; mostly ``None``, which means no
            messages.

        Raises:
            ipcpipes.FramingError: the stream must not end here: :exc:`ipcpipes.IncompleteMessage`
                if it ended inside a message.
        """

    def get_buffer(self) -> memoryview | None:
        """Where the rest of a message can be received straight into, in place of :meth:`split`.

        ``None``, which the default always says: there is no such message, or it is not worth
        it. (The names of this pair are those of :class:`asyncio.BufferedProtocol`.)
        """
        return None

    def buffer_updated(self, nbytes: int) -> Iterable[bytes]:
        """``nbytes`` (1 or more) were put at the beginning of :meth:`get_buffer`'s memory.

        Returns and raises what :meth:`split` does.
        """
        raise NotImplementedError("this splitter gives no buffer")


class Framing(ABC):
    """How messages are told apart in a stream: an immutable value, for any number of channels.

    Your own framing has ``max_size``, :meth:`frame` and :meth:`splitter`.

    Attributes:
        max_size: the largest message in bytes. A channel refuses a larger one to its sender
            before :meth:`frame` is asked; a splitter refuses it before it takes the memory.
    """

    max_size: int

    @abstractmethod
    def frame(self, message: Buffer) -> Sequence[Buffer]:
        """What goes on the wire for one message, as pieces.

        Args:
            message: ``bytes``, or a ``memoryview`` of bytes; give it on as it is, since a large
                one is sent without being copied.

        Raises:
            ipcpipes.FramingError: this message cannot be framed; nothing is sent then.
        """

    @abstractmethod
    def splitter(self) -> Splitter:
        """A new splitter for one channel."""

    def join(self, messages: Sequence[Buffer]) -> bytes | bytearray:
        """What goes on the wire for these messages, in one piece."""
        return b"".join([piece for message in messages for piece in self.frame(message)])


def then_raise(messages: Iterable[bytes], error: FramingError) -> Iterator[bytes]:
    """The messages that came before a fault, and then the fault."""
    yield from messages
    raise error
