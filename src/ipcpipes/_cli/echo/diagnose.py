"""``echo``: sends real data to a second process and back, and reports the figures."""

from __future__ import annotations

import argparse
import platform
from contextlib import closing, nullcontext
from functools import partial
from typing import Any

import _cffi_backend
import trio

import ipcpipes

from ..._os import transport
from ...abc import ByteStream
from .. import output
from ..source import Source, open_source, rewindable, unasked_input
from .measure import SEED, Measured, measure
from .process import AS_CHILD, second_process, server_stream
from .report import as_json, as_text
from .transfer import round_trip, stream_through

__all__ = ["diagnose"]

# What open_child connects with, on a system where names connect with this.
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
    if arguments.file is None:
        source = await unasked_input()
    else:
        source = await rewindable(await open_source(arguments.file))
    if arguments.child:
        run = _with_child
    elif arguments.rpc:
        run = _with_calls
    else:
        run = _with_server
    with closing(source) if source else nullcontext():
        facts = await run(source, arguments.seconds)
    output.write(as_json(facts) if arguments.json else as_text(facts))


async def _with_server(source: Source | None, seconds: float) -> dict[str, Any]:
    async with server_stream() as stream:
        measured = await _measure_stream(stream, source, seconds)
        return _facts(stream, transport, source, measured)


async def _with_child(source: Source | None, seconds: float) -> dict[str, Any]:
    async with second_process("child", AS_CHILD) as child:
        measured = await _measure_stream(child.stream, source, seconds)
        facts = _facts(child.stream, _CHILD_TRANSPORT[transport], source, measured)
    return {**facts, "child": {"reason": child.reason, "status": child.status}}


async def _with_calls(source: Source | None, seconds: float) -> dict[str, Any]:
    # Imported here, so that the other commands do not load it.
    from ... import rpc
    from . import calls

    async with server_stream("--rpc") as stream, rpc.bind(calls.Echo, stream) as client:
        measured = await measure(
            partial(calls.round_trip, client),
            partial(calls.stream_through, client),
            source,
            seconds,
        )
        return _facts(stream, f"{transport}, calls and pipes", source, measured)


async def _measure_stream(stream: ByteStream, source: Source | None, seconds: float) -> Measured:
    return await measure(
        partial(round_trip, stream), partial(stream_through, stream), source, seconds
    )


def _facts(
    stream: ByteStream, carried_by: str, source: Source | None, measured: Measured
) -> dict[str, Any]:
    """The report, with the keys of the JSON document."""
    round_trips, streamed = measured
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
        "round_trips": round_trips,
        "stream": streamed,
        "child": None,
        "verified_bytes": sum(each["total_bytes"] for each in [*round_trips, streamed]),
    }
