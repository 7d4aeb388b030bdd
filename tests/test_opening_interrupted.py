"""listen, connect and accept of code without an event loop, which what a signal handler raises
interrupts at every step: nothing stays open, no name stays taken, no place is lost.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ipcpipes import Endpoint, EndpointNotFound, blocking
from ipcpipes.testing import unique_endpoint

from .conftest import WINDOWS
from .handles import open_handles
from .interruptions import Interruption, interrupted

# What was made and is dropped is closed by its finalizer, which complains.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
# The second is what the handler of an alarm raises; any handler may raise it.
both_kinds = pytest.mark.parametrize("error", [Interruption, TimeoutError])


@pytest.fixture(autouse=True)
def _no_handle_stays_open() -> Iterator[None]:
    """As conftest.py does for descriptors."""
    if not WINDOWS:
        yield
        return
    blocking.listen(unique_endpoint()).close()  # what is looked up once
    before = open_handles()
    yield
    gc.collect()
    assert open_handles() == before


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


@both_kinds
def test_listen(place: Endpoint, error: type[BaseException]) -> None:
    listen = partial(blocking.listen, place, backlog=2)
    at = 0
    where: str | None = ""
    while where is not None:
        at += 1
        made: list[Any] = []
        where = interrupted(at, partial(_keep, made, listen), error)
        if made:
            made.pop().close()
        gc.collect()
        # Wine lets two servers take one name.
        with pytest.raises(EndpointNotFound):
            blocking.connect(place)
        blocking.listen(place).close()
        assert WINDOWS or not list(Path(place.name).parent.iterdir()), where
    assert at > 20


@both_kinds
def test_connect(place: Endpoint, error: type[BaseException]) -> None:
    with blocking.listen(place, backlog=2) as listener:
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
    with blocking.listen(place, max_instances=2, backlog=2) as listener:
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
