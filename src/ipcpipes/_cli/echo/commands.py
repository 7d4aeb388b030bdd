"""The commands ``echo``, ``echo serve`` and ``echo send``."""

from __future__ import annotations

import argparse
import contextlib
import functools
import platform
from typing import Any

import _cffi_backend
import trio

import ipcpipes

from ..._os import transport
from ...abc import ByteStream, Listener
from .. import output
from ..progress import show_progress
from ..source import CHUNK, Source, open_source, rewindable, unasked_input
from .measure import SEED, measure
from .process import AS_CHILD, second_process, server_stream
from .report import as_json, as_text
from .transfer import StreamTransfer, Transfer

__all__ = ["diagnose", "echo_to_parent", "send", "serve"]

# The transport of open_child, by the transport that names have on the same system.
_CHILD_TRANSPORT = {
    "Unix domain socket": "socketpair(2)",
    "Windows named pipe": "Windows named pipe, inherited",
}


async def diagnose(arguments: argparse.Namespace) -> None:
    """Starts an echo server in a second process, sends real data through it, checks
    every byte that comes back, and prints round-trip times, throughput, the real
    address and the identity of the peer.

    FILE, or standard input when a file or a pipe is redirected there, is sent as
    messages of at most 64 KiB and then as one stream. Without any, generated data
    of growing sizes is sent. A pipe that stays silent for a second is left alone.
    (Windows: a pipe on standard input is read only when FILE is "-".)

    With --child the other process is a child that has inherited its end, without a
    name (ipcpipes.open_child and parent_stream), and has to end with status 0.

    With --rpc the bytes go as arguments and results of remote calls, and then
    through a pipe of a call to the server and a pipe of another one back.

    To try two programs or two users: "echo serve" here, "echo send NAME" there.
    A FILE that is called serve or send is written ./serve or ./send.

    exit status: 0 all came back right, 1 something failed (one line on standard
    error says what), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
    """
    child: ipcpipes.Child | None = None
    async with contextlib.AsyncExitStack() as stack:
        if arguments.file is None:
            source = await unasked_input()
        else:
            source = await rewindable(await open_source(arguments.file))
        if source is not None:
            stack.callback(source.close)
        stream: ByteStream
        carried_by = transport
        if arguments.child:
            child = await stack.enter_async_context(second_process("child", AS_CHILD))
            stream = child.stream
            carried_by = _CHILD_TRANSPORT[transport]
        else:
            options = ["--rpc"] if arguments.rpc else []
            stream = await stack.enter_async_context(server_stream(*options))
        transfer: Transfer = StreamTransfer(stream)
        if arguments.rpc:
            # Imported here, so that the other commands do not load it.
            from ... import rpc
            from .calls import CallTransfer, Echo

            transfer = CallTransfer(await stack.enter_async_context(rpc.bind(Echo, stream)))
            carried_by += ", calls and pipes"
        measured = await measure(transfer, source, arguments.seconds)
        facts = _facts(stream, carried_by, source, measured)
    if child is not None:
        facts["child"] = {"reason": child.reason, "status": child.status}
    output.write(as_json(facts) if arguments.json else as_text(facts))


async def send(arguments: argparse.Namespace) -> None:
    """Connects to an echo server, sends FILE through it while checking what comes back,
    and prints one line. On a terminal, long input shows a progress bar (needs rich:
    pip install "ipcpipes[cli]").

    exit status: 0 all came back right, 1 something failed (one line on standard
    error says what), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
    """
    with contextlib.closing(await open_source(arguments.file)) as source:
        stream = await ipcpipes.connect(arguments.name, wait=arguments.wait)
        async with stream, trio.open_nursery() as nursery:
            transfer = StreamTransfer(stream)
            nursery.start_soon(transfer.fail_when_stalled)
            nursery.start_soon(show_progress, transfer.ledger, source.size)
            streamed = await transfer.stream_through(source.read)
            nursery.cancel_scope.cancel()
    output.write(
        "{total_bytes} bytes sent and back, every one right, in {seconds:.3f} s, "
        "{megabytes_per_second:.1f} MB/s".format(**streamed)
    )


async def serve(arguments: argparse.Namespace) -> None:
    """Listens, prints one line that says where, and sends back what each client sends,
    until Ctrl-C. Only you can connect.

    exit status: 1 it could not listen (one line on standard error says why), 2
    wrong usage, 130 Ctrl-C, 143 SIGTERM.
    """
    # The kernel closes the parent's end of this stream however the parent ends, also by SIGKILL.
    parent = ipcpipes.parent_stream(cancel_on_end=True) if arguments.as_child else None
    async with parent or contextlib.nullcontext(), trio.open_nursery() as nursery:
        serving = functools.partial(ipcpipes.serve, _echo)
        if arguments.rpc:
            # Imported here, so that the other commands do not load it.
            from ... import rpc
            from .calls import EchoManager

            serving = functools.partial(rpc.serve, EchoManager(), introspection=True)
        listener: Listener[ByteStream] = await nursery.start(serving, arguments.name)
        output.write(f"listening on {listener.endpoint} at {listener.address}")


async def echo_to_parent(_: argparse.Namespace) -> None:
    """Sends back what the parent sends, until it closes the stream or dies.

    Raises:
        NoParent: no parent started this process by ``open_child``.
    """
    async with ipcpipes.parent_stream() as stream:
        await _echo(stream)


async def _echo(stream: ByteStream) -> None:
    # A client that leaves before its answer is not an error.
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(CHUNK):
            await stream.send_all(data)


def _facts(
    stream: ByteStream, carried_by: str, source: Source | None, measured: dict[str, Any]
) -> dict[str, Any]:
    """Returns the report, with the keys of the JSON document."""
    transfers = [*measured["round_trips"], measured["stream"]]
    return {
        "ok": True,
        "endpoint": stream.endpoint.name,
        "address": stream.address,
        "transport": carried_by,
        "peer": stream.peer,
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
        },
        "versions": {
            "python": platform.python_version(),
            "ipcpipes": ipcpipes.__version__,
            "trio": trio.__version__,
            # The part of cffi that runs; the other part is needed only to build.
            "cffi": _cffi_backend.__version__,
        },
        "input": {"name": source and source.name, "seed": None if source else SEED},
        **measured,
        "child": None,
        "verified_bytes": sum(each["total_bytes"] for each in transfers),
    }
