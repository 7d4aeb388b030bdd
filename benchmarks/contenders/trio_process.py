"""trio's own way to start a process, with pipes."""

from __future__ import annotations

import subprocess

import trio

from benchmarks.contenders.stopwatch import Stopwatch
from benchmarks.end import Job, play, ready, select_end


async def start_children(job: Job) -> None:
    command = [job.child]
    watch = Stopwatch()

    async def one_round(count: int) -> int:
        for _ in range(count):
            watch.start()
            process = await trio.lowlevel.open_process(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert process.stdin is not None
            assert process.stdout is not None
            async with process.stdout:
                async with process.stdin:
                    await process.stdin.send_all(b"x")
                    assert await process.stdout.receive_some(1) == b"x"
                    watch.stop()
                await process.wait()
        return count

    ready()
    await play(one_round, watch.total)


if __name__ == "__main__":
    end, job = select_end({("child", "client"): start_children})
    trio.run(end, job)
