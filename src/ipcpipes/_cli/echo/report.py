"""The facts of a diagnostic, as JSON for programs and as a table for people. No I/O."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

__all__ = ["as_json", "as_text", "readable_size"]

# The title of a column: the key of its figure, and how that is formatted.
_COLUMNS = {
    "count": ("count", "d"),
    "p50 us": ("p50_us", ".1f"),
    "p90 us": ("p90_us", ".1f"),
    "p99 us": ("p99_us", ".1f"),
    "max us": ("max_us", ".1f"),
    "messages/s": ("messages_per_second", ".0f"),
    "MB/s": ("megabytes_per_second", ".3f"),
}


def as_json(facts: dict[str, Any]) -> str:
    """One document. Its keys are a promise (docs/echo.md): keys may be added, none is removed."""
    return json.dumps(facts, indent=2, default=asdict)


def as_text(facts: dict[str, Any]) -> str:
    """Several lines; ASCII only, unless a name or an address is not."""
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
