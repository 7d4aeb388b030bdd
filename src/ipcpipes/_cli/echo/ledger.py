"""The bytes that were sent and have not come back yet. No I/O."""

from __future__ import annotations

from collections import deque

from ..failure import WrongBytes

__all__ = ["Ledger"]


class Ledger:
    """Compares what comes back with what was sent. It keeps only the bytes that have not come back
    yet.

    One bytearray would be less code, but the removal of its beginning would move the rest at every
    append.

    Attributes:
        sent: the number of bytes sent so far.
        returned: the number of bytes that came back, and were right.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.returned = 0
        self._chunks: deque[bytes] = deque()
        self._offset = 0  # how much of the first chunk has come back

    @property
    def under_way(self) -> int:
        """The number of bytes that have not come back yet."""
        return self.sent - self.returned

    def send(self, data: bytes) -> None:
        """Records ``data``. Call this before sending it: the echo may arrive before the call that
        sends returns.
        """
        if data:
            self._chunks.append(data)
            self.sent += len(data)

    def receive(self, data: bytes) -> None:
        """Removes ``data``, which came back.

        Raises:
            WrongBytes: ``data`` is not what was sent, or more than that.
        """
        if len(data) > self.under_way:
            raise WrongBytes(
                f"more came back than was sent: at least {self.returned + len(data)} bytes, "
                f"not {self.sent}"
            )
        position = 0
        while position < len(data):
            chunk = self._chunks[0]
            piece = data[position : position + len(chunk) - self._offset]
            # startswith compares in place; a slice of `chunk` would be a copy.
            if not chunk.startswith(piece, self._offset):
                raise self._wrong(chunk[self._offset :], piece)
            position += len(piece)
            self.returned += len(piece)
            self._offset += len(piece)
            if self._offset == len(chunk):
                self._chunks.popleft()
                self._offset = 0

    def _wrong(self, expected: bytes, piece: bytes) -> WrongBytes:
        index = next(i for i, byte in enumerate(piece) if byte != expected[i])
        return WrongBytes(
            f"wrong bytes came back: byte {self.returned + index} is 0x{piece[index]:02x} "
            f"and was sent as 0x{expected[index]:02x}"
        )
