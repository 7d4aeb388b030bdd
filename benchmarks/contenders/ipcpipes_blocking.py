"""ipcpipes without an event loop, used as its users do: by a plain name, with every default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.contenders import messages_blocking
from benchmarks.contenders.messages_blocking import Accept, Parts, ends
from benchmarks.end import Job, chosen
from ipcpipes.blocking import MessageChannel, connect_messages, listen_messages


@contextmanager
def listening(job: Job) -> Iterator[Accept[MessageChannel]]:
    with listen_messages(job.name) as listener:
        yield listener.accept


def connect(job: Job) -> AbstractContextManager[MessageChannel]:
    return connect_messages(job.name)


PARTS: Parts[MessageChannel] = {
    **messages_blocking.PARTS,
    **messages_blocking.BATCH_PARTS,
    # As in the trio program: receive_many is there for every consumer.
    ("messages", "server"): messages_blocking.receive_batches,
}

if __name__ == "__main__":
    end, job = chosen(ends(listening, connect, PARTS))
    end(job)
