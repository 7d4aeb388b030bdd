"""The interface of the tests of sessions, with pipes of each kind."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import LARGEST
from ipcpipes.rpc.wire.format import LEAST_CREDIT, LEAST_FRAME

UUID = "6f1c6b1e-58b8-4b52-9d0c-0f6f4f0f7a10"
encode_body = msgspec.msgpack.encode


class Largest(rpc.Structure):
    data: Annotated[list[rpc.byte], rpc.Length(LARGEST)]


class Work(rpc.Interface, uuid=UUID, version=(2, 5)):
    @rpc.operation
    def add(self, a: int, b: int = 1) -> int:
        raise NotImplementedError

    @rpc.operation
    def total(self, numbers: rpc.InPipe[rpc.int32], scale: int = 1) -> int:
        raise NotImplementedError

    @rpc.operation
    def count(self, upto: int, numbers: rpc.OutPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    def pass_on(
        self,
        first: rpc.InOutPipe[rpc.int32],
        second: rpc.OutPipe[rpc.byte],
        third: rpc.InPipe[rpc.byte],
    ) -> None: ...

    @rpc.operation
    @rpc.options(maybe=True)
    def note(self, text: str) -> None: ...

    @rpc.operation
    def ranged(
        self,
        into: Annotated[rpc.InPipe[rpc.int64], rpc.Range(2, 100_000)],
        out: Annotated[rpc.OutPipe[rpc.int64], rpc.Range(2, 100_000)],
    ) -> None: ...

    @rpc.operation
    def large(self, into: rpc.InPipe[Largest]) -> None: ...

    @rpc.operation
    def echo(self, data: bytes) -> bytes:
        raise NotImplementedError

    @rpc.operation
    def outs(self, one: rpc.OutPipe[rpc.byte], two: rpc.OutPipe[rpc.byte]) -> None: ...

    @rpc.operation
    def ins(self, one: rpc.InPipe[rpc.byte], two: rpc.InPipe[rpc.byte]) -> None: ...


def bind_body(**changes: Any) -> bytes:
    body = {
        "protocol": 1,
        "uuid": UUID,
        "version": (2, 5),
        "max_frame": LEAST_FRAME,
        "credit": LEAST_CREDIT,
    }
    return encode_body(body | changes)


def ack_body(**changes: Any) -> bytes:
    body = {
        "protocol": 1,
        "version": (2, 5),
        "max_frame": LEAST_FRAME,
        "credit": LEAST_CREDIT,
        "calls": 1,
        "operations": [],
    }
    return encode_body(body | changes)
