"""A worker, started by server.py: answers each line of a client with another line."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import trio

import ipcpipes

# Seconds. A client that is silent for longer is disconnected, so that this worker can end.
IDLE_TIMEOUT = 10.0


class Phrases:
    """The configuration file, which can be read again while clients are served."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.known: dict[str, str] = {}

    def load(self) -> None:
        self.known = json.loads(self.path.read_text("utf-8"))

    async def on_message(self, message: bytes) -> None:
        """Handles a message that the master sends to all workers."""
        try:
            self.load()
        except (OSError, ValueError) as error:
            logging.error("%s: %s; the old phrases stay", self.path, error)

    async def answer(self, stream: ipcpipes.Stream) -> None:
        channel = ipcpipes.MessageChannel(stream, ipcpipes.Lines())
        while True:
            with trio.move_on_after(IDLE_TIMEOUT) as timeout:
                try:
                    word = (await channel.receive()).decode()
                except trio.EndOfChannel:
                    return
            if timeout.cancelled_caught:
                return
            await channel.send(self.known.get(word, "?").encode())


async def main() -> None:
    phrases = Phrases(sys.argv[1])
    phrases.load()
    async with ipcpipes.group_worker() as worker:
        await worker.serve(phrases.answer, phrases.on_message)


if __name__ == "__main__":
    trio.run(main)
