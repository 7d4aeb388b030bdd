"""From measured times to the figures of the report. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["percentile", "round_trip_figures", "stream_figures"]


def round_trip_figures(
    message_bytes: int, total_bytes: int, times: Sequence[float]
) -> dict[str, Any]:
    """The figures of messages that were sent one at a time, each after the echo of the one before
    it; with the keys of the JSON document.

    Args:
        message_bytes: the size of the largest message.
        total_bytes: the size of all messages.
        times: seconds, at least one, in any order.
    """
    ordered = sorted(times)
    seconds = sum(ordered)
    return {
        "message_bytes": message_bytes,
        "count": len(ordered),
        "total_bytes": total_bytes,
        "seconds": round(seconds, 6),
        **{f"p{each}_us": round(percentile(ordered, each) * 1e6, 1) for each in (50, 90, 99)},
        "max_us": round(ordered[-1] * 1e6, 1),
        "messages_per_second": round(_rate(len(ordered), seconds), 1),
        "megabytes_per_second": round(_rate(total_bytes, seconds) / 1e6, 3),
    }


def stream_figures(total_bytes: int, seconds: float) -> dict[str, Any]:
    """The figures of bytes that were sent without a pause while their echo was received, with the
    keys of the JSON document. The rate is that of one direction.
    """
    return {
        "total_bytes": total_bytes,
        "seconds": round(seconds, 6),
        "megabytes_per_second": round(_rate(total_bytes, seconds) / 1e6, 3),
    }


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that ``percent`` (1 to 100) of all values do not exceed.

    This is the nearest-rank definition: the result is always a measured value. The standard
    library's ``statistics.quantiles`` interpolates instead.

    Args:
        ordered: at least one value, in ascending order.
    """
    rank = -(-percent * len(ordered) // 100)  # rounded up
    return ordered[rank - 1]


def _rate(amount: int, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0
