"""Runs the fuzz targets (``fuzz/``) on their seeds and on random bytes, without atheris."""

from __future__ import annotations

import os
from random import Random

import pytest

from fuzz.targets import TARGETS

EXAMPLES = int(os.environ.get("IPCPIPES_EXAMPLES") or 100)
every_target = pytest.mark.parametrize("name", TARGETS)


@every_target
def test_seeds_pass_every_target(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds():
        target.run(seed)


@every_target
def test_random_bytes_pass_every_target(name: str) -> None:
    """The bytes are the same in every run; the fuzzers draw new ones."""
    for number in range(EXAMPLES):
        drawn = Random(number)
        TARGETS[name].run(drawn.randbytes(drawn.choice((0, 3, 20, 100, 500))))
