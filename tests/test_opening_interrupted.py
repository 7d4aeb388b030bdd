"""A signal handler's exception at every step of the blocking listen, connect and accept: nothing
stays open, no name stays taken, and the count of connections stays right.
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

# A dropped object is closed by its finalizer, which warns.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
# The handler of an alarm often raises the second; any handler may raise it.
both_kinds = pytest.mark.parametrize("error", [Interruption, TimeoutError])


@pytest.fixture(autouse=True)
def _no_handle_stays_open() -> Iterator[None]:
    """As conftest.py does for descriptors."""
    if not WINDOWS:
        yield
        return
    blocking.listen(unique_endpoint()).close()  # opens the handles that are opened once
    gc.collect()
    before = open_handles()
    yield
    gc.collect()
    assert open_handles() <= before  # threads of earlier tests may have ended meanwhile


def _keep(made: list[Any], make: Any, *arguments: Any) -> None:
    made.append(make(*arguments))


@pytest.fixture
def place(short_tmp: Path) -> Endpoint:
    """A path, and not a name: the lookup of a name uses a generator, and an exception that is
    raised while a generator is closed is swallowed.
    """
    return unique_endpoint() if WINDOWS else Endpoint.path(str(short_tmp / "s"))


def _check_client_is_served_or_closed(client: Any, listener: Any) -> None:
    """The next accept takes a client that an interrupted accept has not taken; or it is closed."""
    with suppress(TimeoutError):
        listener.accept(timeout=0).close()
    assert WINDOWS or client.receive_some(timeout=5) == b""


@both_kinds
def test_interrupted_listen_leaves_nothing_open(
    place: Endpoint, error: type[BaseException]
) -> None:
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
def test_interrupted_connect_leaves_nothing_open(
    place: Endpoint, error: type[BaseException]
) -> None:
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
def test_interrupted_accept_keeps_the_count_of_connections(
    place: Endpoint, error: type[BaseException]
) -> None:
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
                    _check_client_is_served_or_closed(client, listener)
                assert listener.connection_count == 0, where
        assert at > 20
