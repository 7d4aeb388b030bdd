"""The loops of all blocking contenders, so that only the channel differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from benchmarks.contenders.messages import BATCH, DONE
from benchmarks.end import Job, play_blocking, ready


class Channel(Protocol):
    def send(self, message: bytes, /) -> object: ...
    def receive(self) -> bytes: ...


class BatchChannel(Channel, Protocol):
    def send_many(self, messages: Sequence[bytes], /) -> object: ...
    def receive_many(self) -> list[bytes]: ...


ChannelT = TypeVar("ChannelT", bound=Channel)
End = Callable[[Job], None]
Part = Callable[[ChannelT, Job], None]
Parts = Mapping[tuple[str, str], Part[ChannelT]]  # by scenario and role
Accept = Callable[[], AbstractContextManager[ChannelT]]
Listening = Callable[[Job], AbstractContextManager[Accept[ChannelT]]]
Connect = Callable[[Job], AbstractContextManager[ChannelT]]


def ends(
    listening: Listening[ChannelT], connect: Connect[ChannelT], parts: Parts[ChannelT]
) -> dict[tuple[str, str], End]:
    """Combines the channels of a library with what the ends do with them."""

    def server(part: Part[ChannelT]) -> End:
        def end(job: Job) -> None:
            with listening(job) as accept:
                ready()
                with accept() as channel:
                    part(channel, job)

        return end

    def client(part: Part[ChannelT]) -> End:
        def end(job: Job) -> None:
            with connect(job) as channel:
                ready()
                part(channel, job)

        return end

    doors = {"server": server, "client": client}
    return {(scenario, role): doors[role](part) for (scenario, role), part in parts.items()}


def ask(channel: Channel, job: Job) -> None:
    size = job.size
    message = b"x" * size

    def one_round(count: int) -> int:
        for _ in range(count):
            channel.send(message)
            assert len(channel.receive()) == size
        return count

    play_blocking(one_round)


def answer(channel: Channel, job: Job) -> None:
    size = job.size

    def one_round(count: int) -> int:
        for _ in range(count):
            message = channel.receive()
            assert len(message) == size
            channel.send(message)
        return count

    play_blocking(one_round)


def send_each(channel: Channel, job: Job) -> None:
    message = b"x" * job.size

    def one_round(count: int) -> int:
        for _ in range(count):
            channel.send(message)
        assert channel.receive() == DONE
        return count

    play_blocking(one_round)


def receive_each(channel: Channel, job: Job) -> None:
    size = job.size

    def one_round(count: int) -> int:
        for _ in range(count):
            assert len(channel.receive()) == size
        channel.send(DONE)
        return count

    play_blocking(one_round)


def send_batches(channel: BatchChannel, job: Job) -> None:
    batch = [b"x" * job.size] * BATCH

    def one_round(count: int) -> int:
        for sent in range(0, count, BATCH):
            channel.send_many(batch[: count - sent])
        assert channel.receive() == DONE
        return count

    play_blocking(one_round)


def receive_batches(channel: BatchChannel, job: Job) -> None:
    size = job.size

    def one_round(count: int) -> int:
        received = 0
        while received < count:
            messages = channel.receive_many()
            assert all(len(message) == size for message in messages)
            received += len(messages)
        channel.send(DONE)
        return received

    play_blocking(one_round)


PARTS: Parts[Channel] = {
    ("message-roundtrip", "client"): ask,
    ("message-roundtrip", "server"): answer,
    ("messages", "client"): send_each,
    ("messages", "server"): receive_each,
}
BATCH_PARTS: Parts[BatchChannel] = {
    ("message-batches", "client"): send_batches,
    ("message-batches", "server"): receive_batches,
}
