"""What is measured, against whom, and which ratio is the goal.

A new case is an entry of :data:`CASES`; a new rival is an entry of its ``rivals``, with a
program for it in ``contenders/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

KIB = 1024
MIB = 1024 * KIB

Placement = Literal["free", "together", "apart"]


@dataclass(frozen=True)
class Unit:
    """How the seconds of a round become the figure that is compared."""

    name: str
    higher_is_better: bool
    figure: Callable[[float, int, int], float]  # of seconds, count and size


GIGABYTES = Unit("GB/s", True, lambda seconds, count, size: count * size / seconds / 1e9)
PER_SECOND = Unit("/s", True, lambda seconds, count, size: count / seconds)
MICROSECONDS = Unit("us", False, lambda seconds, count, size: seconds / count * 1e6)


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        name: for ``--only``, the table and the JSON.
        scenario: what the two ends do; the contenders' programs know it by this name.
        size: bytes in a chunk or message.
        placement: where the ends run. ``"together"`` is one CPU for both; otherwise a round
            trip measures how fast the machine wakes an idle core and not what the program
            costs. ``"free"`` is the system's choice, which for throughput is one of two
            very different ones; ``"apart"`` (``--apart``) is two CPUs, and steadier.
        first_count: operations in the round that warms up and tells how long one takes.
        rivals: whom the subject is compared with, and the goal for the ratio of the figures
            (subject to rival), ``None`` for no goal.
        subject: the contender that the goals are about.
    """

    name: str
    scenario: str
    size: int
    unit: Unit
    placement: Placement
    first_count: int
    rivals: Mapping[str, float | None]
    subject: str = "ipcpipes"

    @property
    def contenders(self) -> tuple[str, ...]:
        return (*self.rivals, self.subject)

    def meets(self, ratio: float, goal: float) -> bool:
        return ratio >= goal if self.unit.higher_is_better else ratio <= goal


def _bulk(name: str, size: int) -> Case:
    return Case(
        name,
        scenario="bulk",
        size=size,
        unit=GIGABYTES,
        placement="free",
        first_count=64 * MIB // size,
        rivals={"C": 0.95, "trio.SocketStream": None},
    )


CASES = (
    _bulk("bulk-64k", 64 * KIB),
    _bulk("bulk-1m", MIB),
    Case(
        "connect",
        scenario="connect",
        size=0,
        unit=PER_SECOND,
        placement="together",
        first_count=200,
        rivals={"trio.socket": 0.7},
    ),
    Case(
        "roundtrip-64",
        scenario="roundtrip",
        size=64,
        unit=MICROSECONDS,
        placement="together",
        first_count=1000,
        rivals={"C": None, "bare trio": None, "trio.SocketStream": 0.6},
    ),
)
