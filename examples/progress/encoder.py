"""Replaces ffmpeg where it is not installed: encodes nothing, and reports progress as ffmpeg does.

"q" on its standard input, or Ctrl-C, ends it early and cleanly.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time


def clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02}:{int(minutes) % 60:02}:{rest:05.2f}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--length", type=float, default=60.0, help="of the film, in seconds")
    parser.add_argument("--speed", type=float, default=20.0, help="how many times as fast")
    parser.add_argument("--fail-at", type=float, default=float("inf"), help="seconds of the film")
    given, _ = parser.parse_known_args()  # ignores the arguments for ffmpeg

    asked_to_end = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: asked_to_end.set())

    def read_keys() -> None:
        while key := sys.stdin.read(1):
            if key == "q":
                asked_to_end.set()

    threading.Thread(target=read_keys, daemon=True).start()
    sys.stderr.write("Input #0, film, from 'nowhere':\n")
    sys.stderr.write(f"  Duration: {clock(given.length)}, start: 0.000000, bitrate: 1205 kb/s\n")
    started = time.monotonic()
    done = 0.0
    while done < given.length and not asked_to_end.wait(0.05):
        done = min((time.monotonic() - started) * given.speed, given.length)
        if done >= given.fail_at:
            sys.stderr.write("\nError writing the trailer: No space left on device\n")
            sys.exit(228)
        sys.stderr.write(
            f"frame={int(done * 25):5} fps=500 q=28.0 size={int(done * 150):8}KiB "
            f"time={clock(done)} bitrate=1205.5kbits/s speed={given.speed:g}x    \r"
        )
        sys.stderr.flush()
    sys.stderr.write("\n")
    if asked_to_end.is_set():
        sys.stderr.write("[q] command received. Exiting.\n")


if __name__ == "__main__":
    main()
