"""Rounds: every contender of a case once, then all of them again.

A noisy machine is slow for seconds at a time, so only figures taken one right after the
other can be compared: the ratio is taken in each round, and then the median of the ratios.

A pair of processes has its own luck too (where its memory lies, who preempts whom) and keeps
it while it lives: 20 percent between two runs of one program, each of which looks steady. So
each pair plays a few rounds and is started anew.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .cases import Case
from .contenders import Command
from .pair import Pair


@dataclass(frozen=True)
class Effort:
    starts: int
    rounds: int  # after each start
    seconds: float  # for each contender in each round


FULL = Effort(starts=7, rounds=3, seconds=0.2)
QUICK = Effort(starts=3, rounds=2, seconds=0.1)


@dataclass(frozen=True)
class Result:
    """The figures of one case, one list per contender; the n-th ones are of one round."""

    case: Case
    figures: Mapping[str, list[float]]

    def median(self, contender: str) -> float:
        return statistics.median(self.figures[contender])

    def ratios(self, rival: str) -> list[float]:
        pairs = zip(self.figures[self.case.subject], self.figures[rival], strict=True)
        return [subject / other for subject, other in pairs]


def measure(case: Case, commands: Mapping[str, Command], effort: Effort, scratch: Path) -> Result:
    """Runs ``case`` with the contenders in ``commands``, in their order."""
    figures: dict[str, list[float]] = {name: [] for name in commands}
    for start in range(effort.starts):
        with ExitStack() as stack:
            pairs: dict[str, tuple[Pair, int]] = {}
            for number, (name, command) in enumerate(commands.items()):
                socket_name = f"{case.name}-{number}-{start}"
                pair = stack.enter_context(Pair(case, command, scratch, socket_name))
                seconds = pair.play(case.first_count)
                # The same time for all, not the same count: a slow contender must not get
                # longer rounds, and so a larger share of what else the machine does.
                pairs[name] = pair, max(1, round(case.first_count * effort.seconds / seconds))
            for _ in range(effort.rounds):
                for name, (pair, count) in pairs.items():
                    seconds = pair.play(count)
                    figures[name].append(case.unit.figure(seconds, count, case.size))
    return Result(case, figures)
