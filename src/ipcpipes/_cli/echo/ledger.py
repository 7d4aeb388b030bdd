"""What was sent and has not come back yet. Pure: the caller moves the bytes."""

from __future__ import annotations

from collections import deque

from ..failure import WrongBytes

__all__ = ["Ledger"]


class Ledger:
    """Compares what comes back with what was sent, and keeps no more than what is under way.

    Attributes:
        sent: how many bytes were sent so far.
        returned: how many of them came back, and were right.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.returned = 0
        self._chunks: deque[bytes] = deque()
        self._offset = 0  # of what has not come back within the first chunk

    @property
    def under_way(self) -> int:
        """How many bytes have not come back yet."""
        return self.sent - self.returned

    def send(self, data: bytes) -> None:
        """Notes ``data`` down; to be called before it is sent, since it may come back while
        the call that sends it is still busy.
        """
        if data:
            self._chunks.append(data)
            self.sent += len(data)

    def receive(self, data: bytes) -> None:
        """Strikes ``data`` off.

        Raises:
            WrongBytes: it is not what should come next.
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
            # startswith compares inside `chunk`, without a copy of that part of it.
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
