"""Runs ffmpeg and shows its progress.

    python progress.py -i film.mkv -y film.mp4      # any arguments of ffmpeg
    python progress.py --stand-in                   # encoder.py; also when there is no ffmpeg

On a terminal it draws a bar, with rich if that is installed (ipcpipes[cli]); otherwise it prints a
line for each tenth. Ctrl-C ends the encoder cleanly, so that its output can be played.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import trio

import ipcpipes

ENCODER = Path(__file__).with_name("encoder.py")
CLOCK = r"(\d+):(\d+):(\d+(?:\.\d+)?)"

Show = Callable[[float], object]


class Encoder:
    """The state of the encoder, read from the lines that it prints."""

    def __init__(self, show: Show) -> None:
        self.show = show
        self.length = 0.0
        self.last_line = ""
        self.stopped = False

    def read_line(self, line: str) -> None:
        # A line of progress ends with a carriage return, which ends a line here too.
        if line.strip():
            self.last_line = line.strip()
        if found := re.search(rf"Duration: {CLOCK}", line):
            self.length = seconds(found)
        elif self.length and (found := re.search(rf"time={CLOCK}", line)):
            self.show(min(seconds(found) / self.length, 1.0))


def seconds(found: re.Match[str]) -> float:
    hours, minutes, rest = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


async def encode(command: list[str], encoder: Encoder) -> ipcpipes.Child:
    async with (
        ipcpipes.open_child(command, stdin=subprocess.PIPE, stderr=encoder.read_line) as child,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(end_on_ctrl_c, encoder, child)
        await child.wait()
        nursery.cancel_scope.cancel()
    return child


async def end_on_ctrl_c(encoder: Encoder, child: ipcpipes.Child) -> None:
    keyboard = child.process.stdin
    assert keyboard is not None
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async for _ in signals:
            encoder.stopped = True
            # ffmpeg ends cleanly when it reads "q", on every system.
            with contextlib.suppress(trio.BrokenResourceError):
                await keyboard.send_all(b"q")


@contextlib.contextmanager
def shown() -> Iterator[Show]:
    """Yields a function that shows how much of the work is done, from 0 to 1."""
    if not sys.stdout.isatty():
        yield Tenths()
        return
    try:
        from rich.progress import Progress
    except ImportError:
        yield lambda part: print(f"\r[{'#' * int(part * 40):40}] {part:4.0%}", end="", flush=True)
        print()
    else:
        with Progress() as bar:
            task = bar.add_task("encoding", total=1.0)
            yield lambda part: bar.update(task, completed=part)


class Tenths:
    """Prints a line whenever another tenth is done."""

    def __init__(self) -> None:
        self.printed = -1

    def __call__(self, part: float) -> None:
        if int(part * 10) > self.printed:
            self.printed = int(part * 10)
            print(f"{self.printed * 10} %", flush=True)


def main() -> None:
    arguments = sys.argv[1:]
    command = [shutil.which("ffmpeg") or "", "-hide_banner", *arguments]
    if not command[0] or "--stand-in" in arguments:
        command = [sys.executable, str(ENCODER), *arguments]
    with shown() as show:
        encoder = Encoder(show)
        child = trio.run(encode, command, encoder)
    if encoder.stopped:
        sys.exit(f"stopped (the encoder: {child.reason}, status {child.status})")
    if child.status != 0:
        sys.exit(f"{encoder.last_line} (the encoder: {child.reason}, status {child.status})")


if __name__ == "__main__":
    main()
