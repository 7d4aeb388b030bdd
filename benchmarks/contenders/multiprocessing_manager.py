"""``multiprocessing.Manager``: what the standard library has for calls."""

from __future__ import annotations

from multiprocessing.managers import BaseManager

from benchmarks.end import Job, chosen, play_blocking, ready

KEY = b"benchmark"


class Service:
    """What is called."""

    def echo(self, message: bytes) -> bytes:
        return message


class Manager(BaseManager):
    """Serves it."""


def serve(job: Job) -> None:
    Manager.register("service", Service)
    with Manager(job.path, KEY):
        ready()
        # It runs in a process of its own, which is where this one's processor is, too.
        play_blocking(lambda count: count)


def ask(job: Job) -> None:
    Manager.register("service")
    manager = Manager(job.path, KEY)
    manager.connect()
    service = manager.service()  # type: ignore[attr-defined]
    size = job.size
    message = b"x" * size

    def one_round(count: int) -> int:
        for _ in range(count):
            assert len(service.echo(message)) == size
        return count

    ready()
    play_blocking(one_round)


if __name__ == "__main__":
    end, job = chosen({("rpc-call", "server"): serve, ("rpc-call", "client"): ask})
    end(job)
