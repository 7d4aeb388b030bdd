"""listen, connect and accept of code without an event loop, which what a signal handler raises
interrupts at every step: nothing stays open, no name stays taken, no place is lost.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ipcpipes import Endpoint, blocking
from ipcpipes.testing import unique_endpoint

from .conftest import WINDOWS
from .interruptions import Interruption, interrupted

# What was made and is dropped is closed by its finalizer, which complains.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
posix_only = pytest.mark.skipif(
    WINDOWS, reason="a handle of Windows is not kept by the step that opens it"
)
_alarm = pytest.param(
    TimeoutError,
    marks=pytest.mark.skipif(
        WINDOWS, reason="no alarms there, and what asks a pipe takes it for the system's error"
    ),
)
both_kinds = pytest.mark.parametrize("error", [Interruption, _alarm])


def _keep(made: list[Any], make: Any, *arguments: Any) -> None:
    made.append(make(*arguments))


@pytest.fixture
def place(short_tmp: Path) -> Endpoint:
    """A path, where a name would be looked for by a generator: that one swallows what is raised
    while it is given up.
    """
    return unique_endpoint() if WINDOWS else Endpoint.path(str(short_tmp / "s"))


def _is_not_left_hanging(client: Any, listener: Any) -> None:
    """A client that an interrupted accept has not taken yet is the next one's; or it is closed."""
    with suppress(TimeoutError):
        listener.accept(timeout=0).close()
    assert WINDOWS or client.receive_some(timeout=5) == b""


@posix_only
@both_kinds
def test_listen(place: Endpoint, error: type[BaseException]) -> None:
    at = 0
    where: str | None = ""
    while where is not None:
        at += 1
        made: list[Any] = []
        where = interrupted(at, partial(_keep, made, blocking.listen, place), error)
        if made:
            made.pop().close()
        gc.collect()
        blocking.listen(place).close()
        assert not list(Path(place.name).parent.iterdir()), where
    assert at > 20


@posix_only
@both_kinds
def test_connect(place: Endpoint, error: type[BaseException]) -> None:
    with blocking.listen(place) as listener:
        at = 0
        where: str | None = ""
        while where is not None:
            at += 1
            made: list[Any] = []
            where = interrupted(
                at, partial(_keep, made, blocking.connect, listener.endpoint), error
            )
            if made:
                made.pop().close()
            while True:
                try:
                    listener.accept(timeout=0).close()
                except TimeoutError:
                    break
        assert at > 20


@both_kinds
def test_accept(place: Endpoint, error: type[BaseException]) -> None:
    with blocking.listen(place, max_instances=2) as listener:
        at = 0
        where: str | None = ""
        while where is not None:
            at += 1
            with blocking.connect(listener.endpoint, wait=5) as client:
                accepted: list[Any] = []
                where = interrupted(
                    at, partial(_keep, accepted, partial(listener.accept, timeout=5)), error
                )
                gc.collect()
                assert listener.connection_count == len(accepted), where
                if accepted:
                    accepted.pop().close()
                else:
                    _is_not_left_hanging(client, listener)
                assert listener.connection_count == 0, where
        assert at > 20
