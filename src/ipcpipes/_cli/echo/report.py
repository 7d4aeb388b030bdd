"""The figures of a diagnostic, and all its facts as JSON for programs and as a table for people.
No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

__all__ = ["as_json", "as_text", "round_trip_figures", "stream_figures"]

# For the title of each column: the key of its figure, and the format of the figure.
_COLUMNS = {
    "count": ("count", "d"),
    "p50 us": ("p50_us", ".1f"),
    "p90 us": ("p90_us", ".1f"),
    "p99 us": ("p99_us", ".1f"),
    "max us": ("max_us", ".1f"),
    "messages/s": ("messages_per_second", ".0f"),
    "MB/s": ("megabytes_per_second", ".3f"),
}


def round_trip_figures(
    message_bytes: int, total_bytes: int, times: Sequence[float]
) -> dict[str, Any]:
    """Returns the figures of messages that were sent one at a time, each after the echo of the one
    before it, with the keys of the JSON document.

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
    """Returns the figures of bytes that were sent without a pause while their echo was received,
    with the keys of the JSON document. The rate is that of one direction.
    """
    return {
        "total_bytes": total_bytes,
        "seconds": round(seconds, 6),
        "megabytes_per_second": round(_rate(total_bytes, seconds) / 1e6, 3),
    }


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Returns the smallest value that ``percent`` percent (1 to 100) of all values do not exceed.

    This is the nearest-rank definition: the result is always a measured value. The standard
    library's ``statistics.quantiles`` interpolates instead.

    Args:
        ordered: at least one value, in ascending order.
    """
    rank = -(-percent * len(ordered) // 100)  # rounded up
    return ordered[rank - 1]


def _rate(amount: int, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0


def as_json(facts: dict[str, Any]) -> str:
    """Returns one document. Its keys are stable (docs/echo.md): keys may be added, but none is
    removed.
    """
    return json.dumps(facts, indent=2, default=asdict)


def as_text(facts: dict[str, Any]) -> str:
    """Returns several lines, which are ASCII unless a name or an address is not."""
    shown = {
        "endpoint": facts["endpoint"],
        "address": facts["address"],
        "transport": facts["transport"],
        "peer": facts["peer"],
        "platform": " ".join(facts["platform"].values()),
        "versions": ", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        "input": facts["input"]["name"] or f"generated (seed {facts['input']['seed']})",
    }
    lines = [f"{name:<11}{value}" for name, value in shown.items()]
    if facts["round_trips"]:
        lines += ["", *_table(facts["round_trips"])]
    lines.append("")
    lines.append(
        "stream     {total_bytes} bytes in {seconds:.3f} s, {megabytes_per_second:.1f} MB/s, "
        "sending and receiving at once".format(**facts["stream"])
    )
    if facts["child"] is not None:
        lines.append("child      {reason}, status {status}".format(**facts["child"]))
    lines.append(f"result     ok: {facts['verified_bytes']} bytes sent, every one came back right")
    return "\n".join(lines)


def readable_size(size: int) -> str:
    """``64 KiB``. A size that is not a multiple of a unit is in bytes."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def _table(round_trips: list[dict[str, Any]]) -> list[str]:
    rows = [("message", *_COLUMNS), *map(_row, round_trips)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Sizes are right-aligned like numbers.
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    size = readable_size(each["message_bytes"])
    if each["total_bytes"] != each["count"] * each["message_bytes"]:
        size = f"up to {size}"
    return (size, *(format(each[key], form) for key, form in _COLUMNS.values()))
