"""Signal handlers that raise at random steps of blocking calls, while other threads call too."""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from ipcpipes import rpc
from ipcpipes.rpc import blocking

from .interrupting import Interrupted, Interrupter
from .numbers_service import Numbers, NumbersManager, numbers, served

__all__ = ["NAME", "run"]

NAME = "rpc-signals"
_ROUNDS = 100  # on one connection, if it lives so long
_HANGS = 60.0  # seconds


def run(seconds: float) -> str:
    until = time.monotonic() + seconds
    interval = sys.getswitchinterval()
    counts: Counter[str] = Counter()
    drawn = Random(0)
    sys.setswitchinterval(1e-6)
    try:
        while time.monotonic() < until:
            with Interrupter(outside=drawn.random() < 0.5) as interrupter:
                _Connection(interrupter, drawn, counts).run(until)
    finally:
        sys.setswitchinterval(interval)
        faulthandler.cancel_dump_traceback_later()
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))


class _Connection:
    """One connection: the main thread's calls are interrupted, and those of the others are not."""

    def __init__(self, interrupter: Interrupter, drawn: Random, counts: Counter[str]) -> None:
        self._interrupter = interrupter
        self._drawn = drawn
        self._counts = counts
        self._manager = NumbersManager()
        self._ending = threading.Event()
        self._errors: list[BaseException] = []

    def run(self, until: float) -> None:
        faulthandler.dump_traceback_later(_HANGS, exit=True)
        with (
            served(self._manager) as listener,
            blocking.connect(Numbers, listener.endpoint) as client,
        ):
            others = [
                threading.Thread(target=self._call_beside, args=(client, what))
                for what in self._drawn.sample(
                    [lambda: client.echo(7), lambda: self._upload(client, 30_000)],
                    self._drawn.randrange(3),
                )
            ]
            for thread in others:
                thread.start()
            try:
                self._rounds(client, until)
            finally:
                self._ending.set()
                for thread in others:
                    thread.join()
            self._check_ended(client)
        assert not self._errors, repr(self._errors[0])
        assert not self._manager.faults, self._manager.faults[0]
        self._counts["connections"] += 1
        self._counts["elements received"] += self._manager.received

    def _rounds(self, client: Any, until: float) -> None:
        operations: list[Callable[[Any], None]] = [
            lambda client: client.echo(1),
            lambda client: self._upload(client, 300),
            lambda client: self._upload(client, 200_000),
            self._download,
            self._push_by_hand,
            self._pull_by_hand,
            lambda client: client.wait.with_options(timeout=0.001)(10.0),
        ]
        for _ in range(_ROUNDS):
            if time.monotonic() > until:
                return
            faulthandler.dump_traceback_later(_HANGS, exit=True)
            operation = self._drawn.choice(operations)
            try:
                try:
                    with self._interrupter.after(self._drawn.expovariate(3000)):
                        operation(client)
                except rpc.CallCancelled:
                    pass  # its time was over
                self._counts["calls not interrupted"] += 1
            except Interrupted:
                self._counts["calls interrupted"] += 1
            except rpc.RpcError as error:
                self._end(error)
                return
            try:
                assert client.echo(5) == 5
            except rpc.RpcError as error:
                self._end(error)
                return

    def _end(self, error: rpc.RpcError) -> None:
        """Checks that only an interruption in the middle of a step ends a connection."""
        assert "interrupted" in str(error), repr(error)
        self._counts["connections ended by it"] += 1

    def _call_beside(self, client: Any, operation: Callable[[], Any]) -> None:
        try:
            while not self._ending.is_set():
                operation()
        except rpc.RpcError as error:
            if "interrupted" not in str(error):
                self._errors.append(error)
        except BaseException as error:
            self._errors.append(error)

    @staticmethod
    def _upload(client: Any, count: int) -> None:
        assert client.upload(numbers(0, count)) == count, "an upload was cut"

    @staticmethod
    def _download(client: Any) -> None:
        found: list[int] = []
        assert client.download(30_000, found) == 30_000
        assert found == list(range(30_000)), "a download is not what was sent"

    def _push_by_hand(self, client: Any) -> None:
        """Pushes in pieces. An interrupted piece may have been sent or not; nothing follows it."""
        with client.upload.begin() as call:
            pipe = call.pipes["elements"]
            for first in range(0, 20_000, 4_000):
                pipe.push(numbers(first, 4_000))
            pipe.close()
            assert call.complete() == 20_000

    def _pull_by_hand(self, client: Any) -> None:
        """Continues after an interruption: then no element is missing, or the pull fails."""
        expected = 0
        interrupted: Interrupted | None = None
        with client.download.begin(30_000) as call:
            pipe = call.pipes["elements"]
            while True:
                try:
                    chunk = pipe.pull(1_000)
                except Interrupted as error:
                    interrupted = error
                    continue
                except rpc.BadStubData:
                    assert interrupted is not None
                    raise interrupted from None
                if not len(chunk):
                    break
                first, expected = expected, expected + len(chunk)
                # The interrupted pull may already have taken some elements.
                if interrupted is None or chunk[0] == first:
                    assert list(chunk) == list(range(first, expected)), "elements are missing"
                else:
                    raise interrupted
            if interrupted is None:
                assert expected == 30_000
                assert call.complete() == 30_000

    def _check_ended(self, client: Any) -> None:
        """Checks that no call is left open, which would occupy a place at the server."""
        session = client._link.session
        until = time.monotonic() + 10
        while session.calls and session.failure is None and time.monotonic() < until:
            client.echo(0)
            time.sleep(0.001)
        if session.failure is None:
            assert not session.calls, f"calls were left behind: {list(session.calls.values())}"
