"""The echo server in a second process, for the diagnostic."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import ipcpipes

from ... import abc
from ..failure import Failure
from ..system import APART
from .ended import LONGEST_MESSAGE, is_about_the_end, process_ended

__all__ = ["ServerProcess", "server_process"]

_START_WITHIN = 20.0  # seconds; a cold start from a slow disk
_END_WITHIN = 5.0
_COMMAND = (sys.executable, "-m", "ipcpipes", "echo", "serve")


class ServerProcess:
    """A running server, and what it has written to standard error."""

    def __init__(self, process: trio.Process, name: str) -> None:
        self.process = process
        self.name = name
        self._said = b""
        self._said_all = trio.Event()

    async def connect(self) -> abc.ByteStream:
        """Connects as soon as it listens.

        Raises:
            Failure: the server ended instead.
            EndpointError: it does not listen in time.
        """
        stream: abc.ByteStream | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_at_end, nursery.cancel_scope)
                stream = await ipcpipes.connect(self.name, wait=_START_WITHIN)
                nursery.cancel_scope.cancel()
        except BaseException:
            # Ctrl-C in the instant after the connection was made.
            if stream is not None:
                await trio.aclose_forcefully(stream)
            raise
        if stream is None:
            raise await self.how_it_ended()
        return stream

    async def how_it_ended(self) -> Failure:
        """What to tell the user of a server that has ended."""
        await self._said_all.wait()
        status = await self.process.wait()
        return process_ended("server", status, self._said.decode(errors="replace"))

    async def listen_to_stderr(self) -> None:
        """Collects the end of what it says, and lets it never wait for a reader."""
        stderr = self.process.stderr
        assert stderr is not None
        async with stderr:
            async for data in stderr:
                self._said = (self._said + data)[-LONGEST_MESSAGE:]
        self._said_all.set()

    async def stop(self) -> None:
        """Ends it, by force if need be, and waits until it is gone."""
        with trio.CancelScope(shield=True):
            assert self.process.stdin is not None
            await self.process.stdin.aclose()
            with trio.move_on_after(_END_WITHIN):
                await self.process.wait()
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()

    async def _cancel_at_end(self, scope: trio.CancelScope) -> None:
        await self.process.wait()
        scope.cancel()


@asynccontextmanager
async def server_process(*options: str) -> AsyncIterator[ServerProcess]:
    """Starts the server under a name of its own; it is gone when the block is left.

    Args:
        options: of ``echo serve``.

    Raises:
        Failure: it ended before its time.
    """
    name = f"echo-{secrets.token_hex(4)}"
    # Ctrl-C is for this process alone. The server may still be importing then, with no handler
    # in place to keep it from printing a traceback.
    process = await trio.lowlevel.open_process(
        [*_COMMAND, name, *options, "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        **APART,
    )
    server = ServerProcess(process, name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.listen_to_stderr)
        try:
            yield server
        except Exception as error:
            if is_about_the_end(error):
                # Mostly because the process ended: then say so, and how.
                with trio.move_on_after(1):
                    await process.wait()
                    raise await server.how_it_ended() from None
            raise
        finally:
            await server.stop()
            nursery.cancel_scope.cancel()
