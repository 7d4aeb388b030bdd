"""pyzmq: two PAIR sockets over ipc, blocking, with its defaults.

It has no call for a batch: a thread of its own gathers messages into batches.
"""

# Type checking must also work where pyzmq is not installed.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from benchmarks.contenders import messages_blocking
from benchmarks.contenders.messages_blocking import Accept, Parts, ends
from benchmarks.end import Job, select_end


class Pair:
    """Has the two methods under the names that the loops use, without a call in between."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.send = socket.send
        self.receive = socket.recv
        self._socket = socket

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        # The context ends when it is collected, after all messages were sent.
        self._socket.close()


@contextmanager
def listening(job: Job) -> Iterator[Accept[Pair]]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PAIR)
    socket.bind(f"ipc://{job.path}")
    yield lambda: Pair(socket)


def connect(job: Job) -> Pair:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PAIR)
    socket.connect(f"ipc://{job.path}")
    return Pair(socket)


PARTS: Parts[Pair] = {
    **messages_blocking.PARTS,
    ("message-batches", "client"): messages_blocking.send_each,
    ("message-batches", "server"): messages_blocking.receive_each,
}

if __name__ == "__main__":
    end, job = select_end(ends(listening, connect, PARTS))
    end(job)
