"""Calls that time out while another thread uploads, on one blocking connection."""

from __future__ import annotations

import faulthandler
import threading
import time
from random import Random

from ipcpipes import rpc
from ipcpipes.rpc import blocking

from .numbers_service import Numbers, NumbersManager, numbers, served

__all__ = ["NAME", "run"]

NAME = "rpc-timeouts"
_COUNT = 500_000  # elements of one upload: about 2 MB


def run(seconds: float) -> str:
    faulthandler.dump_traceback_later(seconds + 60, exit=True)  # a hang
    manager = NumbersManager()
    until = time.monotonic() + seconds
    uploads = timeouts = 0
    errors: list[BaseException] = []
    with (
        served(manager) as listener,
        blocking.connect(Numbers, listener.endpoint) as client,
    ):
        elements = blocking.feed(numbers(0, _COUNT))

        def upload() -> None:
            nonlocal uploads
            try:
                while time.monotonic() < until and not errors:
                    assert client.upload(elements) == _COUNT, "an upload was cut"
                    uploads += 1
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=upload)
        thread.start()
        drawn = Random(0)
        try:
            while time.monotonic() < until and not errors:
                timeout = drawn.uniform(0.0005, 0.01)
                try:
                    if drawn.random() < 0.5:
                        blocking.operation_of(client.wait).with_options(timeout=timeout)(60.0)
                    else:
                        blocking.operation_of(client.upload).with_options(timeout=timeout)(elements)
                except rpc.CallCancelled:
                    timeouts += 1
        except rpc.RpcError as error:
            errors.append(error)
        finally:
            manager.end()
            thread.join()
    faulthandler.cancel_dump_traceback_later()
    assert not errors, f"after {timeouts:,} time-outs: {errors[0]!r}"
    assert not manager.faults, manager.faults[0]
    return (
        f"{timeouts:,} time-outs beside {uploads:,} uploads of {_COUNT:,} elements, "
        f"{manager.received:,} elements received"
    )
