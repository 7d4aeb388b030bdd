"""``ipcpipes.blocking.wait`` and exceptions of signal handlers."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .test_blocking_wait import channels, is_idle, streams

if sys.platform == "win32":
    pytest.skip("Windows has no SIGALRM", allow_module_level=True)


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_an_exception_of_a_signal_handler_ends_the_wait_and_loses_nothing() -> None:
    with (
        streams() as (one, other),
        channels() as (client, server),
        blocking.listen(unique_endpoint()) as listener,
    ):
        objects: list[Any] = [one, client, listener]
        with pytest.raises(Stop):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            blocking.wait(objects)
        assert is_idle(*objects)
        server.send(b"x")
        other.send_all(b"y")
        assert blocking.wait(objects) == [one, client]
        assert client.receive() == b"x"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 runs handlers at each return")
def test_exceptions_of_signal_handlers_at_any_step_lose_no_message_and_no_turn() -> None:
    with (
        channels() as (client, server),
        streams() as (one, _),
        blocking.listen(unique_endpoint()) as listener,
    ):
        objects: list[Any] = [one, client, listener]
        for number in range(600):
            server.send(b"%d" % number)
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + number % 60 * 2e-6)
                for _ in range(2):
                    blocking.wait(objects)
                time.sleep(1)
            except Stop:
                pass
            assert blocking.wait(objects) == [client]
            assert client.receive(timeout=0) == b"%d" % number
        with blocking.connect(listener.endpoint):
            assert blocking.wait(objects) == [listener]
            listener.accept(timeout=0).close()
