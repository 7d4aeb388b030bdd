"""How a channel over a Windows pipe passes handles: in headers, one before each message."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .._os.handles.headers import (
    NO_HANDLES,
    HandleHeaderReader,
    HandleHeaderSplitter,
    Handles,
    header_too_large,
)
from ..framing import Buffer, Splitter


class HandleHeaders:
    """The headers that one channel sends and receives, for every driver.

    Attributes:
        reader: takes headers and messages apart, and owns the handles that were received.
        giving: gives handles to the peer's process; see :meth:`Handles.giving`.
    """

    def __init__(
        self,
        handles: Handles,
        most: int,
        arrived: deque[tuple[bytes, list[int]]],
        max_size: int,
    ) -> None:
        self.reader = HandleHeaderReader(most, arrived, handles)
        self.giving = handles.giving
        self._max_size = max_size

    def splitter(self, splitter: Splitter) -> HandleHeaderSplitter:
        """A splitter that returns pairs of a message and its handles."""
        return HandleHeaderSplitter(splitter, self.reader)

    def before_each(self, messages: Sequence[Buffer], header: bytes = NO_HANDLES) -> list[Buffer]:
        """The header before each of the messages.

        Raises:
            MessageTooLarge: the header is too large for the framing.
        """
        if len(header) > self._max_size:
            raise header_too_large(header, self._max_size)
        return [part for message in messages for part in (header, message)]
