"""``multiprocessing.connection`` with bytes, its fastest way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from benchmarks.contenders import crowd_blocking, messages_blocking
from benchmarks.contenders.messages_blocking import Accept, ends
from benchmarks.end import Job, select_end

assert sys.platform != "win32"


class Pipe:
    """Has the two methods under the names that the loops use, without a call in between."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.send = connection.send_bytes
        self.receive = connection.recv_bytes
        self.fileno = connection.fileno
        self._connection = connection

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


@contextmanager
def listening(job: Job) -> Iterator[Accept[Pipe]]:
    with Listener(job.path, "AF_UNIX") as listener:
        yield lambda: Pipe(listener.accept())


def connect(job: Job) -> Pipe:
    return Pipe(Client(job.path, "AF_UNIX"))


ENDS = {
    **ends(listening, connect, messages_blocking.PARTS),
    **crowd_blocking.ends(listening, connect),
}

if __name__ == "__main__":
    end, job = select_end(ENDS)
    end(job)
