"""What the fuzzers check (``fuzz/``), for their seeds and some octets more: without atheris."""

from __future__ import annotations

import os
from random import Random

import pytest

from fuzz.targets import TARGETS

EXAMPLES = int(os.environ.get("IPCPIPES_EXAMPLES") or 100)
every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_where_a_target_begins(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds():
        target.run(seed)


@every_target
def test_any_octets(name: str) -> None:
    """The same in every run; the fuzzers draw anew."""
    for number in range(EXAMPLES):
        drawn = Random(number)
        TARGETS[name].run(drawn.randbytes(drawn.choice((0, 3, 20, 100, 500))))
