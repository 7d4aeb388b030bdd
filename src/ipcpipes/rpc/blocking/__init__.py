"""Remote procedure calls whose parameters can be pipes, without an event loop.

>>> class AccumulatorManager(Accumulator):                      # the interface is the same
...     def total(self, scale, numbers):
...         return scale * sum(sum(chunk) for chunk in numbers)
>>> blocking.serve(AccumulatorManager(), "accumulator")         # the server
>>> with blocking.connect(Accumulator, "accumulator") as acc:   # the client
...     acc.total(2, numbers=[1, 2, 3])

Each end chooses its own driver: a blocking client can talk to a server under trio, and the reverse.
"""

from __future__ import annotations

from ..core.events import CallEvent
from ..core.feeding import PipeControl
from .client import Client, ClientOperation, bind, connect
from .handle import CallHandle
from .iterating import IteratedOperation, ResultIterator
from .pipes import InOutPipe, InPipe, OutPipe
from .server import serve, serve_connection
from .streams import InStream, OutStream
from .typed import (
    client_of,
    drain,
    exchange,
    feed,
    operation_of,
    stream_from,
    stream_into,
)

__all__ = [
    "CallEvent",
    "CallHandle",
    "Client",
    "ClientOperation",
    "InOutPipe",
    "InPipe",
    "InStream",
    "IteratedOperation",
    "OutPipe",
    "OutStream",
    "PipeControl",
    "ResultIterator",
    "bind",
    "client_of",
    "connect",
    "drain",
    "exchange",
    "feed",
    "operation_of",
    "serve",
    "serve_connection",
    "stream_from",
    "stream_into",
]
