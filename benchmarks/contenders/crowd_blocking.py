"""One server with many connections and no event loop: one thread, and a selector.

The scenarios are those of :mod:`benchmarks.contenders.crowd`.
"""

from __future__ import annotations

import selectors
from contextlib import ExitStack
from itertools import cycle, islice
from typing import Any, Protocol

from benchmarks.contenders.memory import private_memory
from benchmarks.contenders.messages_blocking import Accept, Channel, Connect, End, Listening
from benchmarks.end import Job, play_blocking, ready


class SelectableChannel(Channel, Protocol):
    # An attribute, because multiprocessing_connection.Pipe stores a bound method.
    @property
    def fileno(self) -> Any: ...


class Crowd(ExitStack):
    """The server: echoes on every connection.

    ``multiprocessing.connection.wait`` does the same, but registers all connections anew for
    each message.
    """

    def __init__(self, accept: Accept[SelectableChannel], size: int) -> None:
        super().__init__()
        self._accept = accept
        self._size = size
        self._selector = self.enter_context(selectors.DefaultSelector())

    def join(self, count: int) -> int:
        """Accepts ``count`` more connections, each with its first message."""
        for _ in range(count):
            channel = self.enter_context(self._accept())
            self._selector.register(channel, selectors.EVENT_READ)
            self._echo(channel)
        return count

    def serve(self, count: int) -> int:
        """Returns when ``count`` more messages have been echoed."""
        served = 0
        while served < count:
            for key, _ in self._selector.select():
                self._echo(key.fileobj)
                served += 1
        return served

    def _echo(self, channel: Any) -> None:
        message = channel.receive()
        assert len(message) == self._size
        channel.send(message)


def ends(
    listening: Listening[SelectableChannel], connect: Connect[SelectableChannel]
) -> dict[tuple[str, str], End]:
    def serve_crowd(job: Job) -> None:
        with listening(job) as accept, Crowd(accept, job.size) as crowd:
            ready()
            crowd.join(job.connections)
            play_blocking(crowd.serve)

    def serve_idle(job: Job) -> None:
        with listening(job) as accept, Crowd(accept, job.size) as crowd:
            ready()
            play_blocking(crowd.join, private_memory)

    def join(stack: ExitStack, job: Job, count: int) -> list[SelectableChannel]:
        channels = []
        for _ in range(count):
            channel = stack.enter_context(connect(job))
            exchange(channel, job)
            channels.append(channel)
        return channels

    def exchange(channel: SelectableChannel, job: Job) -> None:
        channel.send(b"x" * job.size)
        assert len(channel.receive()) == job.size

    def ask_crowd(job: Job) -> None:
        with ExitStack() as stack:
            channels = cycle(join(stack, job, job.connections))
            ready()

            def one_round(count: int) -> int:
                for channel in islice(channels, count):
                    exchange(channel, job)
                return count

            play_blocking(one_round)

    def fill_idle(job: Job) -> None:
        with ExitStack() as stack:

            def one_round(count: int) -> int:
                return len(join(stack, job, count))

            ready()
            play_blocking(one_round)

    return {
        ("crowd", "server"): serve_crowd,
        ("crowd", "client"): ask_crowd,
        ("idle", "server"): serve_idle,
        ("idle", "client"): fill_idle,
    }
