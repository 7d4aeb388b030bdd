"""A worker of server.py, which starts it: answers one line of each client's with another."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import trio

import ipcpipes

# A client that says nothing for so long would keep this worker from ending in order.
PATIENCE = 10.0


class Phrases:
    """The configuration file, which can be read again while clients are served."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.known: dict[str, str] = {}

    def load(self) -> None:
        self.known = json.loads(self.path.read_text("utf-8"))

    async def heed(self, message: bytes) -> None:
        """What the master says to all workers."""
        try:
            self.load()
        except (OSError, ValueError) as error:
            logging.error("%s: %s; the old phrases stay", self.path, error)

    async def answer(self, stream: ipcpipes.Stream) -> None:
        channel = ipcpipes.MessageChannel(stream, ipcpipes.Lines())
        while True:
            with trio.move_on_after(PATIENCE) as patience:
                try:
                    word = (await channel.receive()).decode()
                except trio.EndOfChannel:
                    return
            if patience.cancelled_caught:
                return
            await channel.send(self.known.get(word, "?").encode())


async def main() -> None:
    phrases = Phrases(sys.argv[1])
    phrases.load()
    async with ipcpipes.group_worker() as worker:
        await worker.serve(phrases.answer, phrases.heed)


if __name__ == "__main__":
    trio.run(main)
