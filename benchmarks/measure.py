"""Rounds: every contender of a case once, then all of them again.

A noisy machine is slow for seconds at a time, so only figures that are taken directly after each
other can be compared: the ratio is computed in each round, and then the median of the ratios.

Each pair of processes is also faster or slower for as long as it lives (by the layout of its memory
and its scheduling): two runs of one program can differ by 20 percent although each looks steady. So
each pair plays a few rounds and is then started anew.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .cases import Case, Contender
from .contenders import NotInstalled, command
from .pair import Pair


@dataclass(frozen=True)
class Effort:
    starts: int
    rounds: int  # after each start
    seconds: float  # for each contender in each round


FULL = Effort(starts=7, rounds=3, seconds=0.2)
QUICK = Effort(starts=3, rounds=2, seconds=0.1)


@dataclass(frozen=True)
class Comparison:
    """The ratios of the subject's figures to a rival's: the median, and the middle half."""

    low: float
    ratio: float
    high: float
    goal: float | None
    met: bool | None


@dataclass(frozen=True)
class Result:
    """The figures of one case, a list for each contender; the n-th figures are of the same round.

    Attributes:
        missing: the contenders that cannot run here, and so have no figures, and the reason.
    """

    case: Case
    figures: Mapping[Contender, list[float]]
    missing: Mapping[Contender, str]

    def median(self, contender: Contender) -> float:
        return statistics.median(self.figures[contender])

    def comparison(self, rival: Contender) -> Comparison | None:
        """Compares the subject with a rival; ``None`` if one of the two is missing."""
        subject = self.case.subject
        if subject in self.missing or rival in self.missing:
            return None
        rounds = zip(self.figures[subject], self.figures[rival], strict=True)
        low, ratio, high = statistics.quantiles([ours / theirs for ours, theirs in rounds], n=4)
        goal = self.case.rivals[rival]
        met = None if goal is None else self.case.unit.meets(ratio, goal)
        return Comparison(low, ratio, high, goal, met)

    @property
    def within_limit(self) -> bool | None:
        """Whether the subject keeps its limit; ``None`` if there is no limit or no subject."""
        case = self.case
        if case.limit is None or case.subject in self.missing:
            return None
        return case.unit.meets(self.median(case.subject), case.limit)


def measure(case: Case, effort: Effort, scratch: Path) -> Result:
    """Runs ``case`` with all its contenders, in their order."""
    commands = {}
    missing = {}
    for contender in case.contenders:
        try:
            commands[contender] = command(contender.program, scratch, case.child)
        except NotInstalled as error:
            missing[contender] = str(error)

    figures: dict[Contender, list[float]] = {contender: [] for contender in commands}
    for start in range(effort.starts):
        with ExitStack() as stack:
            pairs: dict[Contender, tuple[Pair, int]] = {}
            for number, (contender, how) in enumerate(commands.items()):
                socket_name = f"{case.name}-{number}-{start}"
                pair = stack.enter_context(Pair(case, contender, how, scratch, socket_name))
                pairs[contender] = pair, _warm_up(pair, case, effort)
            for _ in range(effort.rounds):
                for contender, (pair, count) in pairs.items():
                    growth = pair.play(count)
                    figures[contender].append(case.unit.figure(growth, count, case.size))
    return Result(case, figures, missing)


def _warm_up(pair: Pair, case: Case, effort: Effort) -> int:
    """Plays the first round; returns the number of operations for the others."""
    growth = pair.play(case.first_count)
    if case.count is not None:
        return case.count
    # All get the same time, not the same count: a slow contender must not get longer rounds, and
    # with them a larger share of the other work of the machine.
    return max(1, round(case.first_count * effort.seconds / growth))
