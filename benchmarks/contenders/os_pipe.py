"""An anonymous pipe with system calls only: ``os.write``, and ``os.readv`` into a buffer."""

from __future__ import annotations

import os
import sys

from benchmarks.contenders import pipes_blocking
from benchmarks.end import Job, ready, select_end

assert sys.platform != "win32"


def send(job: Job) -> None:
    fd, size = job.number, job.size

    def put(chunk: bytes) -> None:
        # In blocking mode it writes all of it, unless a signal arrives.
        assert os.write(fd, chunk) == size

    ready()
    pipes_blocking.send(put, job)


def receive(job: Job) -> None:
    fd = job.number
    ready()
    pipes_blocking.receive(lambda buffer: os.readv(fd, (buffer,)), job)


if __name__ == "__main__":
    end, job = select_end({("pipe", "client"): send, ("pipe", "server"): receive})
    end(job)
