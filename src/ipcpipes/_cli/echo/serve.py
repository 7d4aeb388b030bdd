"""``echo serve``, and the child of ``echo --child``: sends back what the client sends."""

from __future__ import annotations

import argparse
import contextlib
import functools

import trio

import ipcpipes

from ... import abc
from .. import output
from ..source import CHUNK

__all__ = ["echo_to_parent", "serve"]


async def serve(arguments: argparse.Namespace) -> None:
    """Listens, prints one line that says where, and sends back what each client sends,
    until Ctrl-C. Only you can connect.

    exit status: 1 it could not listen (one line on standard error says why), 2
    wrong usage, 130 Ctrl-C, 143 SIGTERM.
    """
    # The kernel closes the parent's end of this stream however the parent ends, also by SIGKILL.
    async with contextlib.AsyncExitStack() as stack:
        if arguments.as_child:
            await stack.enter_async_context(ipcpipes.parent_stream(cancel_on_end=True))
        nursery = await stack.enter_async_context(trio.open_nursery())
        if arguments.rpc:
            # Imported here, so that the other commands do not load it.
            from ... import rpc
            from .calls import EchoManager

            serving = functools.partial(rpc.serve, EchoManager(), introspection=True)
        else:
            serving = functools.partial(ipcpipes.serve, _echo)
        listener: abc.Listener[abc.ByteStream] = await nursery.start(serving, arguments.name)
        output.write(f"listening on {listener.endpoint} at {listener.address}")


async def echo_to_parent(_: argparse.Namespace) -> None:
    """Sends back what the parent sends, until it closes the stream or dies.

    Raises:
        NoParent: no parent started this process by ``open_child``.
    """
    async with ipcpipes.parent_stream() as stream:
        await _echo(stream)


async def _echo(stream: abc.ByteStream) -> None:
    # A client that leaves before its answer is not an error.
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(CHUNK):
            await stream.send_all(data)
