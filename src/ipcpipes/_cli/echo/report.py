"""What the diagnostic found out, as a table for people and as JSON for machines. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

from ...abc import PeerIdentity
from .figures import RoundTrips, Streamed, readable_size

__all__ = ["ChildEnd", "Report", "as_json", "as_text"]


class ChildEnd(NamedTuple):
    """How a child ended, as :class:`ipcpipes.Child` has it."""

    reason: str
    status: int


@dataclass(frozen=True)
class Report:
    """All facts of a run in which every byte came back right.

    Attributes:
        input_name: the file; ``None`` when the data was generated, from ``seed``.
        child: ``None`` when a server was at the other end.
    """

    endpoint: str
    address: str
    transport: str
    peer: PeerIdentity
    platform: dict[str, str]
    versions: dict[str, str]
    input_name: str | None
    seed: int | None
    round_trips: list[RoundTrips]
    streamed: Streamed
    child: ChildEnd | None = None

    @property
    def verified_bytes(self) -> int:
        """How many bytes were sent, and came back right."""
        return sum(each.total_bytes for each in self.round_trips) + self.streamed.total_bytes


def as_json(report: Report) -> str:
    """One document. Its keys are a promise: new ones may come, these stay."""
    return json.dumps(
        {
            "ok": True,
            "endpoint": report.endpoint,
            "address": report.address,
            "transport": report.transport,
            "peer": asdict(report.peer),
            "platform": report.platform,
            "versions": report.versions,
            "input": {"name": report.input_name, "seed": report.seed},
            "round_trips": [
                {
                    "message_bytes": each.message_bytes,
                    "count": each.count,
                    "total_bytes": each.total_bytes,
                    "seconds": round(each.seconds, 6),
                    "p50_us": round(each.p50 * 1e6, 1),
                    "p90_us": round(each.p90 * 1e6, 1),
                    "p99_us": round(each.p99 * 1e6, 1),
                    "max_us": round(each.longest * 1e6, 1),
                    "messages_per_second": round(each.messages_per_second, 1),
                    "megabytes_per_second": round(each.bytes_per_second / 1e6, 3),
                }
                for each in report.round_trips
            ],
            "stream": {
                "total_bytes": report.streamed.total_bytes,
                "seconds": round(report.streamed.seconds, 6),
                "megabytes_per_second": round(report.streamed.bytes_per_second / 1e6, 3),
            },
            "child": None if report.child is None else report.child._asdict(),
            "verified_bytes": report.verified_bytes,
        },
        indent=2,
    )


def as_text(report: Report) -> str:
    """Several lines, in ASCII as far as the facts are."""
    facts = {
        "endpoint": report.endpoint,
        "address": report.address,
        "transport": report.transport,
        "peer": str(report.peer),
        "platform": " ".join(report.platform.values()),
        "versions": ", ".join(f"{name} {number}" for name, number in report.versions.items()),
        "input": report.input_name or f"generated (seed {report.seed})",
    }
    lines = [f"{name:<11}{value}" for name, value in facts.items()]
    if report.round_trips:
        lines += ["", *_table(report.round_trips)]
    lines += ["", f"stream     {_streamed(report.streamed)}"]
    if report.child is not None:
        lines.append(f"child      {report.child.reason}, status {report.child.status}")
    lines.append(f"result     ok: {report.verified_bytes} bytes sent, every one came back right")
    return "\n".join(lines)


def _streamed(streamed: Streamed) -> str:
    return (
        f"{streamed.total_bytes} bytes in {streamed.seconds:.3f} s, "
        f"{streamed.bytes_per_second / 1e6:.1f} MB/s, sending and receiving at once"
    )


_COLUMNS = ("message", "count", "p50 us", "p90 us", "p99 us", "max us", "messages/s", "MB/s")


def _table(round_trips: list[RoundTrips]) -> list[str]:
    rows = [_COLUMNS, *(_row(each) for each in round_trips)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # The sizes and their units line up on the right like the numbers.
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _row(each: RoundTrips) -> tuple[str, ...]:
    mixed = each.total_bytes != each.count * each.message_bytes
    return (
        ("up to " if mixed else "") + readable_size(each.message_bytes),
        str(each.count),
        *(f"{value * 1e6:.1f}" for value in (each.p50, each.p90, each.p99, each.longest)),
        f"{each.messages_per_second:.0f}",
        f"{each.bytes_per_second / 1e6:.3f}",
    )
