"""ipcpipes without an event loop: requests by ``transact``."""

from __future__ import annotations

from benchmarks.contenders.ipcpipes_blocking import PARTS, connect_for_messages, listening
from benchmarks.contenders.messages_blocking import ends
from benchmarks.end import Job, play_blocking, select_end
from ipcpipes.blocking import MessageChannel


def ask(channel: MessageChannel, job: Job) -> None:
    size = job.size
    message = b"x" * size

    def one_round(count: int) -> int:
        for _ in range(count):
            assert len(channel.transact(message)) == size
        return count

    play_blocking(one_round)


if __name__ == "__main__":
    end, job = select_end(
        ends(listening, connect_for_messages, {**PARTS, ("message-roundtrip", "client"): ask})
    )
    end(job)
