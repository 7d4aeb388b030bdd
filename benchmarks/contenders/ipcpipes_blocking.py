"""ipcpipes without an event loop, as users use it: with a plain name and the defaults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import ipcpipes
from benchmarks.contenders import messages_blocking, pipes_blocking
from benchmarks.contenders.messages_blocking import Accept, Parts, ends
from benchmarks.contenders.stopwatch import Stopwatch
from benchmarks.end import Job, play_blocking, ready, select_end
from ipcpipes.blocking import (
    MessageChannel,
    connect,
    connect_messages,
    listen_messages,
    open_child,
)


@contextmanager
def listening(job: Job) -> Iterator[Accept[MessageChannel]]:
    with listen_messages(job.name) as listener:
        yield listener.accept


def connect_for_messages(job: Job) -> AbstractContextManager[MessageChannel]:
    return connect_messages(job.name)


def send_through_pipe(job: Job) -> None:
    with connect(ipcpipes.Endpoint.inherited(job.number), direction="send") as stream:
        ready()
        pipes_blocking.send(stream.send_all, job)


def receive_through_pipe(job: Job) -> None:
    with connect(ipcpipes.Endpoint.inherited(job.number), direction="receive") as stream:
        ready()
        pipes_blocking.receive(stream.receive_into, job)


def start_children(job: Job) -> None:
    command = [job.child]
    watch = Stopwatch()

    def one_round(count: int) -> int:
        for _ in range(count):
            watch.start()
            with open_child(command) as child:
                child.stream.send_all(b"x")
                assert child.stream.receive_some(1) == b"x"
                watch.stop()
        return count

    ready()
    play_blocking(one_round, watch.total)


PARTS: Parts[MessageChannel] = {
    **messages_blocking.PARTS,
    **messages_blocking.BATCH_PARTS,
    # receive_many, as in the trio program: every consumer can use it.
    ("messages", "server"): messages_blocking.receive_batches,
}

ENDS = {
    ("child", "client"): start_children,
    ("pipe", "client"): send_through_pipe,
    ("pipe", "server"): receive_through_pipe,
    **ends(listening, connect_for_messages, PARTS),
}

if __name__ == "__main__":
    end, job = select_end(ENDS)
    end(job)
