"""grpcio over a Unix domain socket, with plain bytes instead of protobuf.

A round trip is a unary call; messages one way are one call that streams them to the server.
"""

# Type checking must also work where grpcio is not installed.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from queue import SimpleQueue
from threading import Condition
from typing import Any

import grpc

from benchmarks.contenders.messages import DONE
from benchmarks.contenders.rpc_interface import IN_FLIGHT
from benchmarks.end import Job, play_blocking, ready, select_end

SERVICE = "benchmark"


class Service:
    """The server: a thread of gRPC answers, and the main thread waits for the count."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._changed = Condition()
        self._received = 0

    def handler(self) -> Any:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Echo": grpc.unary_unary_rpc_method_handler(self._echo),
                "Collect": grpc.stream_unary_rpc_method_handler(self._collect),
                "Scatter": grpc.unary_stream_rpc_method_handler(self._scatter),
            },
        )

    def take(self, count: int) -> int:
        """Returns when ``count`` more messages have arrived."""
        with self._changed:
            self._changed.wait_for(lambda: self._received >= count)
            self._received -= count
        return count

    def _echo(self, message: bytes, _: object) -> bytes:
        assert len(message) == self._size
        self._add(1)
        return message

    def _collect(self, messages: Iterator[bytes], _: object) -> bytes:
        received = 0
        for message in messages:
            assert len(message) == self._size
            received += 1
        self._add(received)
        return DONE

    def _scatter(self, count: bytes, _: object) -> Iterator[bytes]:
        yield from repeat(b"x" * self._size, int(count))
        self._add(int(count))

    def _add(self, count: int) -> None:
        with self._changed:
            self._received += count
            self._changed.notify()


def serve(job: Job) -> None:
    service = Service(job.size)
    with ThreadPoolExecutor(max_workers=1) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((service.handler(),))
        server.add_insecure_port(f"unix:{job.path}")
        server.start()
        ready()
        play_blocking(service.take)
        # With a grace time; otherwise the client reports the end on standard error.
        server.stop(grace=1).wait()


def ask(job: Job) -> None:
    size = job.size
    message = b"x" * size
    with grpc.insecure_channel(f"unix:{job.path}") as channel:
        echo = channel.unary_unary(f"/{SERVICE}/Echo")

        def one_round(count: int) -> int:
            for _ in range(count):
                assert len(echo(message)) == size
            return count

        ready()
        play_blocking(one_round)


def stream(job: Job) -> None:
    message = b"x" * job.size
    with grpc.insecure_channel(f"unix:{job.path}") as channel:
        collect = channel.stream_unary(f"/{SERVICE}/Collect")

        def one_round(count: int) -> int:
            assert collect(repeat(message, count)) == DONE
            return count

        ready()
        play_blocking(one_round)


def scatter(job: Job) -> None:
    size = job.size
    with grpc.insecure_channel(f"unix:{job.path}") as channel:
        call = channel.unary_stream(f"/{SERVICE}/Scatter")

        def one_round(count: int) -> int:
            received = 0
            for message in call(b"%d" % count):
                assert len(message) == size
                received += 1
            return received

        ready()
        play_blocking(one_round)


def ask_many(job: Job) -> None:
    """Keeps :data:`IN_FLIGHT` calls open, and begins one whenever another is answered."""
    size = job.size
    message = b"x" * size
    with grpc.insecure_channel(f"unix:{job.path}") as channel:
        echo = channel.unary_unary(f"/{SERVICE}/Echo")

        def one_round(count: int) -> int:
            answered: SimpleQueue[Any] = SimpleQueue()
            for begun in range(count):
                if begun >= IN_FLIGHT:
                    assert len(answered.get().result()) == size
                echo.future(message).add_done_callback(answered.put)
            for _ in range(min(count, IN_FLIGHT)):
                assert len(answered.get().result()) == size
            return count

        ready()
        play_blocking(one_round)


if __name__ == "__main__":
    end, job = select_end(
        {
            ("message-roundtrip", "server"): serve,
            ("message-roundtrip", "client"): ask,
            ("messages", "server"): serve,
            ("messages", "client"): stream,
            ("rpc-call", "server"): serve,
            ("rpc-call", "client"): ask,
            ("rpc-calls", "server"): serve,
            ("rpc-calls", "client"): ask_many,
            ("bulk", "server"): serve,
            ("bulk", "client"): stream,
            ("values-in", "server"): serve,
            ("values-in", "client"): stream,
            ("values-out", "server"): serve,
            ("values-out", "client"): scatter,
        }
    )
    end(job)
