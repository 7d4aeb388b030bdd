"""From measured times to the figures that are shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RoundTrips", "Streamed", "percentile", "readable_size", "summarise"]


@dataclass(frozen=True)
class RoundTrips:
    """Messages of one size that were sent one at a time, each when the last was back.

    Times are in seconds; ``message_bytes`` is the size of the largest, ``total_bytes`` of all.
    """

    message_bytes: int
    count: int
    total_bytes: int
    seconds: float
    p50: float
    p90: float
    p99: float
    longest: float

    @property
    def messages_per_second(self) -> float:
        return _rate(self.count, self.seconds)

    @property
    def bytes_per_second(self) -> float:
        """In one direction; as many went in the other."""
        return _rate(self.total_bytes, self.seconds)


@dataclass(frozen=True)
class Streamed:
    """Bytes that were sent without a pause while they came back."""

    total_bytes: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """In one direction; as many went in the other."""
        return _rate(self.total_bytes, self.seconds)


def summarise(message_bytes: int, total_bytes: int, times: Sequence[float]) -> RoundTrips:
    """The figures of at least one round trip; ``times`` are in seconds, in any order."""
    ordered = sorted(times)
    return RoundTrips(
        message_bytes=message_bytes,
        count=len(ordered),
        total_bytes=total_bytes,
        seconds=sum(ordered),
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p99=percentile(ordered, 99),
        longest=ordered[-1],
    )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that ``percent`` (1 to 100) of all values do not exceed.

    This is the nearest-rank definition: the answer is always a value that was measured.

    Args:
        ordered: at least one value, in ascending order.
    """
    rank = -(-percent * len(ordered) // 100)  # the ceiling, in whole numbers
    return ordered[rank - 1]


def readable_size(size: int) -> str:
    """``64 KiB``; a size that is no round number is given in bytes."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def _rate(amount: int, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0
