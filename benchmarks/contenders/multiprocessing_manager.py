"""``multiprocessing.Manager``: calls with the standard library."""

from __future__ import annotations

from multiprocessing.managers import BaseManager

from benchmarks.end import Job, play_blocking, ready, select_end

KEY = b"benchmark"


class Service:
    """The object that is called."""

    def echo(self, message: bytes) -> bytes:
        return message


class Manager(BaseManager):
    """Serves the object."""


def serve(job: Job) -> None:
    Manager.register("service", Service)
    with Manager(job.path, KEY):
        ready()
        # The manager runs in a child process, which inherits the CPU of this one.
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
    end, job = select_end({("rpc-call", "server"): serve, ("rpc-call", "client"): ask})
    end(job)
