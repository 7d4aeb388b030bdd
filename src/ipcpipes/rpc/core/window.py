"""How much of a pipe or a stream a peer may send before the consumer takes some of it."""

from __future__ import annotations

from ..errors import ProtocolError

__all__ = ["Window", "with_credit"]

MOST_CREDIT = 2**32 - 1


class Window:
    """The number of bytes that the peer may be ahead of the consumer. It grows while the consumer
    keeps up: then the peer waits less often for more credit, and little data waits here.

    Args:
        first: the size at the beginning, which the peer knows from the handshake.
        most: the largest size.

    Attributes:
        size: the present size.
        credit: how many bytes the peer may still send.
    """

    def __init__(self, first: int, most: int) -> None:
        self.size = first
        self.credit = first
        self._most = most

    def grant(self, waiting: int, *, is_empty: bool) -> int:
        """Returns and records how many more bytes the peer may send: 0, or enough to be worth a
        CREDIT frame.

        Args:
            waiting: how many bytes have arrived and were not taken.
            is_empty: whether the consumer has taken everything.
        """
        more = self.size - self.credit - waiting
        if more < self.size // 2:
            return 0
        if self.size < self._most and is_empty:
            # The consumer has taken everything before the peer got more credit.
            wider = min(2 * self.size, self._most)
            more += wider - self.size
            self.size = wider
        self.credit += more
        return more


def with_credit(credit: int, more: int) -> int:
    """Returns the credit of a sender that got more.

    Raises:
        ProtocolError: it has more than an end may grant.
    """
    credit += more
    if credit > MOST_CREDIT:
        raise ProtocolError(f"the other end grants {credit:,} octets, above {MOST_CREDIT:,}")
    return credit
