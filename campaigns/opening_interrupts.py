"""Signals at random steps of listen, connect and accept without an event loop, and what is left."""

from __future__ import annotations

import gc
import os
import time
import warnings
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .interrupting import Interrupted, Interrupter

__all__ = ["NAME", "run"]

NAME = "opening-interrupts"
_LIMIT = 2  # of the listener that accepts
_ROUND = 50  # operations between two looks at what is left
_DESCRIPTORS = "/proc/self/fd"


def run(seconds: float) -> str:
    drawn = Random(0)
    figures = dict.fromkeys(("interrupts", "listened", "connected", "accepted"), 0)
    until = time.monotonic() + seconds
    with warnings.catch_warnings():
        # What was made and is dropped is closed by its finalizer, which complains.
        warnings.simplefilter("ignore", ResourceWarning)
        while time.monotonic() < until:
            with Interrupter(outside=drawn.random() < 0.5) as interrupter:
                _attack(interrupter, drawn, figures)
    return ", ".join(f"{count:,} {name}" for name, count in figures.items())


def _attack(interrupter: Interrupter, drawn: Random, figures: dict[str, int]) -> None:
    place = unique_endpoint()
    with blocking.listen(unique_endpoint(), max_instances=_LIMIT) as listener:
        before = _open_descriptors()
        for _ in range(_ROUND):
            made = _opened(interrupter, drawn, figures, partial(blocking.listen, place))
            if made is not None:
                figures["listened"] += 1
                made.close()
                made = None
            _exchange(listener, interrupter, drawn, figures)
        gc.collect()
        blocking.listen(place).close()  # which raises if an interrupted one has left the name taken
        _require_limit(listener)
        after = _open_descriptors()
        assert after == before, f"{after - before} descriptors are open that were not before"


def _exchange(
    listener: Any, interrupter: Interrupter, drawn: Random, figures: dict[str, int]
) -> None:
    connect = partial(blocking.connect, listener.endpoint, wait=5)
    client = _opened(interrupter, drawn, figures, connect)
    if client is None:
        _empty_queue(listener)
        return
    figures["connected"] += 1
    with client:
        accepted = _opened(interrupter, drawn, figures, partial(listener.accept, timeout=5))
        if accepted is not None:
            figures["accepted"] += 1
            accepted.close()
            accepted = None
        _empty_queue(listener)
        gc.collect()
        assert listener.connection_count == 0, f"{listener.connection_count} connections are open"


def _opened(
    interrupter: Interrupter, drawn: Random, figures: dict[str, int], make: Any
) -> Any | None:
    """What it has made; ``None`` if it was interrupted."""
    made: Any = None
    try:
        with interrupter.after(drawn.choice((0.0, 1e-5, 1e-4, 1e-3)) * drawn.random()):
            made = make()
    except Interrupted:
        figures["interrupts"] += 1
    return made


def _empty_queue(listener: Any) -> None:
    """Takes those whose accept, or whose connect, was interrupted; no other client finds room."""
    with suppress(TimeoutError):
        while True:
            listener.accept(timeout=0).close()


def _require_limit(listener: Any) -> None:
    """Fills the listener: no place is lost, and there is none too many."""
    pairs: list[Any] = []
    try:
        for _ in range(_LIMIT):
            pairs.append(blocking.connect(listener.endpoint, wait=5))
            pairs.append(listener.accept(timeout=5))
        assert listener.connection_count == _LIMIT, f"{listener.connection_count} are open"
        with suppress(TimeoutError):
            pairs.append(listener.accept(timeout=0))
            raise AssertionError("there are more connections than max_instances allows")
    finally:
        for end in pairs:
            end.close()


def _open_descriptors() -> int:
    return len(os.listdir(_DESCRIPTORS)) if os.path.isdir(_DESCRIPTORS) else 0
