"""ipcpipes.rpc without an event loop, as users use it: with a plain name and the defaults."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from benchmarks.contenders.rpc_interface import Benchmark
from benchmarks.end import Job, play_blocking, ready, report, select_end
from ipcpipes import blocking
from ipcpipes.rpc import blocking as rpc


class Manager(Benchmark):
    """Echoes. Only the client measures and counts."""

    def echo(self, message: bytes) -> bytes:  # type: ignore[override]  # for threads
        return message

    def collect(self, data: object) -> int:  # type: ignore[override]
        raise NotImplementedError

    def count(self, data: object) -> int:  # type: ignore[override]
        raise NotImplementedError

    def gather(self, values: Any) -> int:  # type: ignore[override]
        return sum(1 for _ in values)

    def scatter(self, count: int, size: int) -> Iterator[bytes]:  # type: ignore[override]
        return repeat(b"x" * size, count)


def serve(job: Job) -> None:
    with blocking.listen(job.name) as listener:
        serving = threading.Thread(target=rpc.serve, args=(Manager(), listener))
        serving.start()
        ready()
        for order in iter(sys.stdin.readline, ""):
            report(1.0, int(order))
    serving.join()


def ask(job: Job) -> None:
    size = job.size
    message = b"x" * size
    server: Any  # the interface has the types of trio
    with rpc.connect(Benchmark, job.name) as server:

        def one_round(count: int) -> int:
            for _ in range(count):
                assert len(server.echo(message)) == size
            return count

        ready()
        play_blocking(one_round)


def send_values(job: Job) -> None:
    value = b"x" * job.size
    server: Any
    with rpc.connect(Benchmark, job.name) as server:

        def one_round(count: int) -> int:
            received: int = server.gather(repeat(value, count))
            return received

        ready()
        play_blocking(one_round)


def receive_values(job: Job) -> None:
    size = job.size
    server: Any
    with rpc.connect(Benchmark, job.name) as server:

        def one_round(count: int) -> int:
            received = 0
            for value in server.scatter(count, size):
                assert len(value) == size
                received += 1
            return received

        ready()
        play_blocking(one_round)


if __name__ == "__main__":
    end, job = select_end(
        {
            ("rpc-call", "server"): serve,
            ("rpc-call", "client"): ask,
            ("values-in", "server"): serve,
            ("values-in", "client"): send_values,
            ("values-out", "server"): serve,
            ("values-out", "client"): receive_values,
        }
    )
    end(job)
