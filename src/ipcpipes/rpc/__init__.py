"""Remote procedure calls with pipe parameters: streams of data inside an ordinary call.

>>> class Accumulator(rpc.Interface, uuid="5b4b1e6c-2f0e-4e57-9c4d-0a4c7b0f6f11", version=(1, 0)):
...     @rpc.operation
...     async def total(self, scale: int, numbers: rpc.InPipe[rpc.int32]) -> int: ...
>>> class AccumulatorManager(Accumulator):
...     async def total(self, scale, numbers):
...         return scale * sum([sum(chunk) async for chunk in numbers])
>>> await rpc.serve(AccumulatorManager(), "accumulator")         # the server
>>> async with rpc.connect(Accumulator, "accumulator") as acc:   # the client
...     await acc.total(2, numbers=[1, 2, 3])
"""

from __future__ import annotations

from . import errors
from ._trio.client import Client, ClientOperation, bind, connect
from ._trio.handle import CallHandle
from ._trio.iterating import IteratedOperation, ResultIterator
from ._trio.server import serve, serve_connection
from ._trio.stream_types import InStream, OutStream
from ._trio.typed import (
    client_of,
    drain,
    exchange,
    feed,
    operation_of,
    stream_from,
    stream_into,
)
from .core.current import CurrentCall, current_call
from .core.events import CallEvent
from .core.feeding import PipeControl
from .core.intercepting import ClientCall, ServerCall
from .definition.elements import (
    Length,
    Structure,
    boolean,
    byte,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .definition.interface import Interface, operation, options
from .definition.parameters import Chunk, InOutPipe, InPipe, OutPipe, PipeName, Range
from .errors import *  # noqa: F403  # every name in its __all__

__all__ = [
    "CallEvent",
    "CallHandle",
    "Chunk",
    "Client",
    "ClientCall",
    "ClientOperation",
    "CurrentCall",
    "InOutPipe",
    "InPipe",
    "InStream",
    "Interface",
    "IteratedOperation",
    "Length",
    "OutPipe",
    "OutStream",
    "PipeControl",
    "PipeName",
    "Range",
    "ResultIterator",
    "ServerCall",
    "Structure",
    "bind",
    "boolean",
    "byte",
    "client_of",
    "connect",
    "current_call",
    "drain",
    "exchange",
    "feed",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "operation",
    "operation_of",
    "options",
    "serve",
    "serve_connection",
    "stream_from",
    "stream_into",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
__all__ += errors.__all__
