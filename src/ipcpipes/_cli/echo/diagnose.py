"""``echo``: a second process, real input through it, and what it took."""

from __future__ import annotations

import argparse
import dataclasses
import platform
from contextlib import nullcontext

import _cffi_backend
import trio

import ipcpipes

from ..._os import transport
from ...abc import ByteStream
from .. import output
from ..source import Source, open_source, rewindable, unasked_input
from ..system import child_transport
from . import generated
from .ledger import Ledger
from .measure import Measured, warm_up, with_generated_data, with_input
from .process import child_process
from .report import ChildEnd, Report, as_json, as_text
from .server_process import server_process
from .transfer import fail_when_stalled

__all__ = ["diagnose"]


async def diagnose(arguments: argparse.Namespace) -> None:
    """Runs the diagnostic and writes the report; returns only if every byte came back right.

    Raises:
        Failure: anything at all did not work.
        EndpointError: the server could not be reached.
        OSError: the child could not be started.
    """
    source = await _source(arguments.file)
    with source or nullcontext():
        through = _through_server
        if arguments.rpc:
            through = _through_calls
        elif arguments.child:
            through = _through_child
        report = await through(source, arguments.seconds)
        output.write(as_json(report) if arguments.json else as_text(report))


async def _source(name: str | None) -> Source | None:
    if name is None:
        return await unasked_input()
    return await rewindable(await open_source(name))


async def _through_server(source: Source | None, seconds: float) -> Report:
    async with server_process() as server, await server.connect() as stream:
        return _report(stream, transport, source, await _measure(stream, source, seconds))


async def _through_calls(source: Source | None, seconds: float) -> Report:
    # Here, so that who does not need it does not load it.
    from . import call_measure, calls

    async with server_process("--rpc") as server:
        stream = await server.connect()
        async with calls.client(stream) as client:
            ledger = Ledger()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_stalled, ledger)
                measured = await call_measure.measure(client, ledger, source, seconds)
                nursery.cancel_scope.cancel()
            return _report(stream, f"{transport}, calls and pipes", source, measured)


async def _through_child(source: Source | None, seconds: float) -> Report:
    async with child_process() as child:
        measured = await _measure(child.stream, source, seconds)
        report = _report(child.stream, child_transport, source, measured)
    # Known only now.
    assert child.reason is not None
    assert child.status is not None
    return dataclasses.replace(report, child=ChildEnd(child.reason, child.status))


def _report(
    stream: ByteStream, carried_by: str, source: Source | None, measured: Measured
) -> Report:
    return Report(
        endpoint=stream.endpoint.name,
        address=stream.address,
        transport=carried_by,
        peer=stream.peer,
        platform=_platform(),
        versions=_versions(),
        input_name=None if source is None else source.name,
        seed=generated.SEED if source is None else None,
        round_trips=measured.round_trips,
        streamed=measured.streamed,
    )


async def _measure(stream: ByteStream, source: Source | None, seconds: float) -> Measured:
    ledger = Ledger()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_when_stalled, ledger)
        await warm_up(stream, ledger)
        if source is None:
            measured = await with_generated_data(stream, ledger, seconds)
        else:
            measured = await with_input(stream, ledger, source)
        nursery.cancel_scope.cancel()
    return measured


def _platform() -> dict[str, str]:
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
    }


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "ipcpipes": ipcpipes.__version__,
        "trio": trio.__version__,
        # The half of cffi that runs; the other half was there when the wheel was built.
        "cffi": _cffi_backend.__version__,
    }
