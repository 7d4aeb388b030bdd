"""A prefork server: a master, and workers that answer the clients of one endpoint.

It translates words. Try it:

    python server.py start phrases.json      # Ctrl-C or SIGTERM ends it
    python client.py hello goodbye           # in another terminal
    python server.py reload                  # after editing phrases.json; or: kill -HUP <master>
    python server.py renew                   # after editing worker.py; no client notices
    python server.py stop

Kill a worker, and see that another one takes its place.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from functools import partial
from pathlib import Path

import trio

import ipcpipes

WORKER = Path(__file__).with_name("worker.py")


async def start(name: str, phrases: str, count: int) -> None:
    command = [sys.executable, str(WORKER), phrases]
    group = ipcpipes.WorkerGroup(command, count, endpoint=name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, group, nursery.cancel_scope)
        # Commands have an endpoint of their own, which works on every system.
        nursery.start_soon(ipcpipes.serve_messages, partial(control, group), f"{name}.control")
        if sys.platform != "win32":
            nursery.start_soon(reload_on_signal, group, signal.SIGHUP)


async def run(group: ipcpipes.WorkerGroup, program: trio.CancelScope) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        print("ready:", *group.pids.values(), flush=True)
    # A signal or a command has stopped the group, and all workers have ended.
    program.cancel()


async def control(group: ipcpipes.WorkerGroup, channel: ipcpipes.MessageChannel) -> None:
    async for command in channel:
        if command == b"reload":
            await group.send(b"reload")
        elif command == b"renew":
            await group.roll_over()
        elif command == b"stop":
            group.stop()
        await channel.send(" ".join(map(str, group.pids.values())).encode())


async def reload_on_signal(group: ipcpipes.WorkerGroup, number: signal.Signals) -> None:
    with trio.open_signal_receiver(number) as signals:
        async for _ in signals:
            await group.send(b"reload")


async def send_command(name: str, command: str) -> None:
    async with await ipcpipes.connect_messages(f"{name}.control") as channel:
        await channel.send(command.encode())
        print("workers:", (await channel.receive()).decode())


def main() -> None:
    parser = argparse.ArgumentParser(description="A prefork server that translates words.")
    parser.add_argument("command", choices=["start", "reload", "renew", "stop"])
    parser.add_argument("phrases", nargs="?", default=str(WORKER.with_name("phrases.json")))
    parser.add_argument("--name", default="phrasebook", help="of the endpoint")
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if given.command == "start":
        trio.run(start, given.name, given.phrases, given.workers)
        return
    try:
        trio.run(send_command, given.name, given.command)
    except ipcpipes.EndpointError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
