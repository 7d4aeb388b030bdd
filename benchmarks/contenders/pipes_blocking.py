"""The loops for ends of anonymous pipes, for contenders without an event loop."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.end import Job, play_blocking


def send(put: Callable[[bytes], object], job: Job) -> None:
    chunk = b"x" * job.size

    def one_round(count: int) -> int:
        for _ in range(count):
            put(chunk)
        return count

    play_blocking(one_round)


def receive(get: Callable[[bytearray], int], job: Job) -> None:
    buffer = bytearray(job.size)

    def one_round(count: int) -> int:
        total = count * job.size
        received = 0
        while received < total:
            got = get(buffer)
            assert got, "the sender has gone"
            received += got
        assert received == total, "more than was sent"
        return count

    play_blocking(one_round)
