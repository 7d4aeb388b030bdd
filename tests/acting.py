"""Servers that act as their clients, which are other users (Linux, as root)."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

import ipcpipes
from ipcpipes import AccessPolicy, blocking

from .attackers import OTHER
from .drivers import in_thread
from .other_users import line, program

# Connects as another user and stays until its input ends.
CLIENT = """
where, door, uid, level = sys.argv[1:]
become(int(uid), 65534, [7, 54322])
options = {"impersonation": level} if level else {}
if door == "native":
    options["framing"] = ipcpipes.NATIVE
connect = blocking.connect if door == "stream" else blocking.connect_messages
with connect(where, server=AccessPolicy.everyone(), **options) as connection:
    say("ready")
    sys.stdin.read()
"""


@contextmanager
def client(where: Path, door: str, uid: int, level: str) -> Iterator[None]:
    with subprocess.Popen(
        program(CLIENT, where, door, uid, level), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert line(process.stdout) == "ready"
            yield
        finally:
            process.kill()


# The run_as_client of a server's connection, as an async function.
RunAs = Callable[..., Awaitable[Any]]


@contextmanager
def _served_blocking(where: Path, door: str) -> Iterator[Callable[[], RunAs]]:
    listen: Any = blocking.listen if door == "stream" else blocking.listen_messages
    options: Any = {"framing": ipcpipes.NATIVE} if door == "native" else {}
    with listen(where, access=AccessPolicy.everyone(), **options) as listener:
        accepted: list[Any] = []

        def accept() -> RunAs:
            accepted.append(listener.accept(timeout=30))

            async def run(fn: Callable[..., Any], *args: Any) -> Any:
                return await in_thread(accepted[-1].run_as_client, fn, *args)

            return run

        try:
            yield accept
        finally:
            for one in accepted:
                one.close()


async def acting(
    where: Path,
    act: Callable[[RunAs], Awaitable[None]],
    *,
    driver: str = "trio",
    door: str = "stream",
    uid: int = OTHER,
    level: str = "impersonate",
) -> None:
    """Calls ``act`` with ``run_as_client`` of a connection that ``uid`` has made."""
    with trio.fail_after(60):
        if driver == "blocking":
            with _served_blocking(where, door) as accept, client(where, door, uid, level):
                await act(accept())
            return
        listen: Any = ipcpipes.listen if door == "stream" else ipcpipes.listen_messages
        options: Any = {"framing": ipcpipes.NATIVE} if door == "native" else {}
        async with await listen(where, access=AccessPolicy.everyone(), **options) as listener:
            with client(where, door, uid, level):
                async with await listener.accept() as connection:
                    await act(connection.run_as_client)
