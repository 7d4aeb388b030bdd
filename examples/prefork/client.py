"""Asks the workers of server.py, without an event loop: python client.py hello goodbye"""

from __future__ import annotations

import argparse
import sys
import time

import trio

import ipcpipes
from ipcpipes import blocking

WAIT = 10.0  # seconds to wait for a server that is starting or has no room


def ask_once(name: str, word: str) -> str:
    with blocking.connect_messages(name, wait=WAIT, framing=ipcpipes.Lines()) as channel:
        channel.send(word.encode(), timeout=10)
        return channel.receive(timeout=10).decode()


def ask(name: str, word: str) -> str:
    until = time.monotonic() + WAIT
    while True:
        try:
            return ask_once(name, word)
        except (trio.EndOfChannel, trio.BrokenResourceError):
            # The worker ended. Another worker answers if the client asks again.
            if time.monotonic() > until:
                raise


def main() -> None:
    parser = argparse.ArgumentParser(description="Asks for the translation of words.")
    parser.add_argument("words", nargs="+")
    parser.add_argument("--name", default="phrasebook", help="of the endpoint")
    given = parser.parse_args()
    for word in given.words:
        try:
            print(f"{word}: {ask(given.name, word)}")
        except (ipcpipes.EndpointError, TimeoutError) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
