"""A signal handler's exception at every step of the start of a child: no child lives on, nothing
stays open.
"""

from __future__ import annotations

import gc
import inspect
import os
import random
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ipcpipes import LengthPrefixed, blocking

from .conftest import open_descriptors
from .interruptions import Interruption, interrupted
from .processes import children_of_this_process

if sys.platform != "linux":
    pytest.skip("the list of children is in /proc", allow_module_level=True)
assert sys.platform == "linux" or not TYPE_CHECKING

from .starting import way

__all__ = ["way"]  # a fixture

# A dropped object is closed by its finalizer, which warns.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.mark.parametrize("error", [Interruption, TimeoutError])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="stream"),
        pytest.param({"framing": LengthPrefixed()}, id="channel"),
        pytest.param({"pipes": {"a": "send", "b": "receive"}}, id="pipes"),
    ],
)
def test_interrupted_start_leaves_nothing(
    way: str, options: dict[str, Any], error: type[BaseException]
) -> None:
    if way == "unknown":
        pytest.skip("subprocess itself can lose a child; only Ctrl-C is deferred then")
    gc.collect()
    before = open_descriptors()
    at = 0
    where: str | None = ""
    while where is not None:
        at += 1
        opening = blocking.open_child(["sleep", "600"], grace=0, **options)
        entered: list[bool] = []

        def enter(opening: Any = opening, entered: list[bool] = entered) -> None:
            opening.__enter__()
            entered.append(True)

        where = interrupted(at, enter, error)
        if entered:
            opening.__exit__(None, None, None)
        del opening
        gc.collect()
        assert not children_of_this_process(), where
        assert open_descriptors() == before, where
    assert at > 50


def test_ctrl_c_during_many_starts_leaves_nothing(way: str) -> None:
    """Real signals, at moments that the test does not choose."""
    if way == "refused":
        pytest.skip("the quick way does not fail like this where it is known to work")
    before = open_descriptors()
    dice = random.Random(6)
    previous = signal.signal(
        signal.SIGALRM, lambda number, frame: signal.raise_signal(signal.SIGINT)
    )
    interruptions = 0
    try:
        for _ in range(300):
            opening: Any = blocking.open_child(["sleep", "600"], grace=0)
            try:
                signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-5, 2e-3))
                opening.__enter__()
                while True:  # until the signal comes
                    time.sleep(0.01)
            except KeyboardInterrupt:
                interruptions += 1
            if inspect.getgeneratorstate(opening.gen) == inspect.GEN_SUSPENDED:
                opening.__exit__(None, None, None)
            assert not children_of_this_process()
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert interruptions == 300
    gc.collect()
    assert open_descriptors() == before


def test_ignored_and_default_signals_stay_as_they_are(way: str) -> None:
    for handler in (signal.SIG_IGN, signal.SIG_DFL):
        previous = signal.signal(signal.SIGINT, handler)
        try:
            with blocking.open_child(["true"]) as child:
                assert signal.getsignal(signal.SIGINT) is handler
                assert child.wait() == 0
            assert signal.getsignal(signal.SIGINT) is handler
        finally:
            signal.signal(signal.SIGINT, previous)


def test_pending_signal_of_the_parent_is_not_lost(way: str) -> None:
    """Signals are blocked for a moment around the start: they come after it."""
    came: list[int] = []
    previous = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.0005):
            os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        for _ in range(50):
            with blocking.open_child(["sh", "-c", "exit 3"]) as child:
                assert child.wait() == 3
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, previous)
    assert came
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
