"""Signal handlers that raise while a stream of values is received without an event loop."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import pytest
import trio

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_waiting import SECONDS

if sys.platform == "win32":
    pytest.skip("Windows has no setitimer", allow_module_level=True)


class Alarm(BaseException):
    pass


@pytest.mark.parametrize("many", [False, True])
def test_a_signal_handler_loses_no_value(many: bool) -> None:
    """The handler raises only in the code that takes values out of a stream."""

    class Flow(rpc.Interface, uuid="a3c4d5e6-f708-4192-a3b4-c5d6e7f8091a", version=(1, 0)):
        @rpc.operation
        def give(self, numbers: blocking.OutStream[int]) -> None: ...

    class FlowManager(Flow):
        def give(self, numbers: Any) -> None:
            numbers.send_many(range(count))

    count = 100_000
    taking = {"receive", "receive_many", "_alone", "__exit__"}

    def raise_there(number: int, frame: Any) -> None:
        if frame.f_code.co_name in taking and (
            frame.f_code.co_filename.endswith(("streams.py", "contextlib.py"))
        ):
            raise Alarm

    with streams.listen(unique_endpoint()) as listener:
        server = threading.Thread(target=blocking.serve, args=(FlowManager(), listener))
        server.start()
        client: Any
        with blocking.connect(Flow, listener.endpoint) as client:
            with client.give.begin() as call:
                numbers, got = call.streams["numbers"], []
                previous = signal.signal(signal.SIGALRM, raise_there)
                signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
                alarms = 0
                try:
                    while True:
                        try:
                            if many:
                                got += numbers.receive_many()
                            else:
                                got.append(numbers.receive())
                        except Alarm:
                            alarms += 1
                        except trio.EndOfChannel:
                            break
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    signal.signal(signal.SIGALRM, previous)
                assert got == [*range(count)]
    server.join(SECONDS)
