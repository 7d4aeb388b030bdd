"""Ships log files to a server, and searches them there.

    python log_shipping.py serve logs                # Ctrl-C ends it
    python log_shipping.py ship app.log web.log      # in another terminal
    python log_shipping.py ship --follow app.log     # with what is appended, until Ctrl-C
    python log_shipping.py search ERROR

A file goes through a pipe of the call, and is never in memory as a whole. The matches come back
through another pipe while the search goes on.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

import ipcpipes
from ipcpipes import rpc

LONGEST_LINE = 1024 * 1024
PIECE = 64 * 1024


@dataclass
class Shipped:
    """How much of a file has arrived."""

    lines: int
    size: int


class LogStore(rpc.Interface, uuid="3b0e8c1d-7a55-4d0f-9f0b-5f4d1f6f2a10", version=(1, 0)):
    """Keeps the log files of many programs."""

    @rpc.operation
    async def ship(self, name: str, data: rpc.InPipe[rpc.byte]) -> Shipped:
        """Appends lines to the log of this name."""
        raise NotImplementedError

    @rpc.operation
    async def search(self, word: str, matches: rpc.OutPipe[rpc.byte]) -> int:
        """Sends the lines with this word, each after the name of its log; returns the number of
        logs.
        """
        raise NotImplementedError


class Directory(LogStore):
    """Keeps the logs as files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def ship(self, name: str, data: rpc.InPipe[rpc.byte]) -> Shipped:
        # The name comes from a client: it must not lead out of the directory.
        if not name or name.startswith(".") or any(mark in name for mark in '/\\:\0"'):
            raise rpc.Fault(f"{name!r} is not a name of a log", code=22)
        shipped = Shipped(0, 0)
        async with await trio.open_file(self.directory / name, "ab") as file:
            async for lines in whole_lines(data):
                await file.write(lines)
                await file.flush()
                shipped.lines += lines.count(b"\n")
                shipped.size += len(lines)
        return shipped

    async def search(self, word: str, matches: rpc.OutPipe[rpc.byte]) -> int:
        wanted = word.encode()
        logs = sorted(path for path in self.directory.iterdir() if path.is_file())
        for path in logs:
            mark = path.name.encode() + b": "
            async with await trio.open_file(path, "rb") as file:
                while lines := await file.readlines(PIECE):
                    # This waits while the client is slower, and is cancelled if the client leaves.
                    if found := [mark + line for line in lines if wanted in line]:
                        await matches.push(b"".join(found))
        await matches.close()
        return len(logs)


async def whole_lines(data: rpc.InPipe[rpc.byte]) -> AsyncIterator[bytes]:
    """Yields the data in whole lines, so that a client that dies inside a line leaves no part."""
    rest = b""
    async for chunk in data:
        lines, newline, rest = (rest + bytes(chunk)).rpartition(b"\n")
        if len(rest) > LONGEST_LINE:
            raise rpc.Fault(f"a line of more than {LONGEST_LINE:,} bytes", code=22)
        if newline:
            yield lines + newline
    if rest:
        yield rest + b"\n"


async def serve(name: str, directory: Path) -> None:
    async with trio.open_nursery() as nursery:
        listener = await nursery.start(rpc.serve, Directory(directory), name)
        print("ready", flush=True)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                # Open calls are finished; a second Ctrl-C ends the program at once.
                await listener.aclose()
                break


async def ship(name: str, paths: list[Path], *, follow: bool) -> None:
    async with rpc.connect(LogStore, name, wait=10) as store:
        for path in paths:
            if follow:
                with trio.open_signal_receiver(signal.SIGINT) as signals:
                    shipped = await store.ship(path.name, rpc.feed(tail(path, signals)))
            else:
                with path.open("rb") as file:
                    shipped = await store.ship(path.name, rpc.feed(file))
            print(f"{path.name}: {shipped.lines} lines, {shipped.size} bytes")


async def tail(path: Path, signals: AsyncIterator[int]) -> AsyncIterator[bytes]:
    """Yields the contents of the file, and what is appended to it, until a signal arrives."""
    async with await trio.open_file(path, "rb") as file:
        while True:
            if data := await file.read(PIECE):
                yield data
                continue
            await file.seek(0, os.SEEK_CUR)  # a C library may remember that it was at the end
            with trio.move_on_after(0.1):
                await anext(signals)
                return


async def search(name: str, word: str) -> None:
    async with rpc.connect(LogStore, name, wait=10) as store:
        # A binary file can receive a pipe; each piece is printed when it arrives.
        logs = await store.search(word, rpc.drain(sys.stdout.buffer))
    sys.stdout.flush()
    print(f"searched {logs} logs")


def main() -> None:
    parser = argparse.ArgumentParser(description="Ships log files to a server.")
    parser.add_argument("--name", default="log-store", help="of the endpoint")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("serve")
    command.add_argument("directory", type=Path)
    command = commands.add_parser("ship")
    command.add_argument("paths", nargs="+", type=Path)
    command.add_argument("--follow", action="store_true", help="one file; Ctrl-C ends it cleanly")
    command = commands.add_parser("search")
    command.add_argument("word")
    given = parser.parse_args()
    try:
        if given.command == "serve":
            given.directory.mkdir(exist_ok=True)
            trio.run(serve, given.name, given.directory)
        elif given.command == "ship":
            trio.run(partial(ship, given.name, given.paths, follow=given.follow))
        else:
            trio.run(search, given.name, given.word)
    except (rpc.RpcError, ipcpipes.EndpointError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
