"""``subprocess.Popen`` with unbuffered pipes: the minimal cost of a child in Python."""

from __future__ import annotations

import subprocess

from benchmarks.contenders.stopwatch import Stopwatch
from benchmarks.end import Job, play_blocking, ready, select_end


def start_children(job: Job) -> None:
    command = [job.child]
    watch = Stopwatch()

    def one_round(count: int) -> int:
        for _ in range(count):
            watch.start()
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(b"x")
                assert process.stdout.read(1) == b"x"
                watch.stop()
        return count

    ready()
    play_blocking(one_round, watch.total)


if __name__ == "__main__":
    end, job = select_end({("child", "client"): start_children})
    end(job)
