"""The ends of ``multiprocessing.Pipe(duplex=False)``, which sends messages instead of bytes."""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.contenders import pipes_blocking
from benchmarks.end import Job, ready, select_end

assert sys.platform != "win32"


def send(job: Job) -> None:
    connection: Connection[Any, Any] = Connection(job.number, readable=False)
    with connection:
        ready()
        pipes_blocking.send(connection.send_bytes, job)


def receive(job: Job) -> None:
    connection: Connection[Any, Any] = Connection(job.number, writable=False)
    with connection:
        ready()
        pipes_blocking.receive(connection.recv_bytes_into, job)


if __name__ == "__main__":
    end, job = select_end({("pipe", "client"): send, ("pipe", "server"): receive})
    end(job)
