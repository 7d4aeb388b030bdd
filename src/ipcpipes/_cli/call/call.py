"""Lists what a server offers, or makes one call."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import trio

import ipcpipes

from ... import rpc
from ...rpc._trio.client import Client, open_client
from ...rpc._trio.transport import FrameTransport
from ...rpc.core.client import ClientOptions
from ...rpc.definition.introspection import InterfaceDescription, Introspection, definition_of
from ...rpc.definition.operations import Definition
from ...rpc.wire.format import Limits
from .. import output
from ..failure import Failure
from ..progress import show_progress
from ..source import in_thread
from .arguments import Arguments
from .elements import with_known_elements
from .values import printable_json, write_value

__all__ = ["call"]


async def call(command: argparse.Namespace) -> None:
    """Does what the command line asks for, and prints the result.

    Raises:
        Failure: the server has no such interface, operation or parameter.
        EndpointError, rpc.RpcError, OSError: the call failed.
    """
    interfaces = await _interfaces(command.name, command.wait)
    if command.operation is None:
        output.write(_listing(interfaces) or "nothing but the list itself")
        return
    interface, dot, name = command.operation.rpartition(".")
    if not dot:
        raise Failure(f"{name} is not INTERFACE.OPERATION; the interfaces are {_names(interfaces)}")
    description = _find(interfaces, interface, "the server has no interface")
    described = _find(description.operations, name, f"{description.name} has no operation")
    definition = _definition_for(description, name)
    operation = definition.operations[name]
    with ExitStack() as files:
        # In a thread: opening a FIFO waits for the process at its other end.
        arguments = await in_thread(
            Arguments, operation, described, command.arguments, files, command.raw
        )
        await arguments.read()
        stream = await ipcpipes.connect(command.name, wait=command.wait)
        frame_transport = FrameTransport(stream, Limits())
        async with open_client(ClientOptions(definition), frame_transport, None) as client:
            result = await _make_call(client, name, arguments, command.timeout)
    if not (operation.options.maybe or operation.yields):
        text = printable_json(result)
        if not arguments.uses_stdout:
            output.write(text)
        elif result is not None:
            output.complain(f"result: {text}")


def _definition_for(description: InterfaceDescription, name: str) -> Definition:
    """Returns the definition for a client that calls the operation of this name.

    Raises:
        Failure: the server's description is not valid, or is unknown to this version.
    """
    try:
        definition = definition_of(description)
    except (TypeError, ValueError) as error:
        raise Failure(f"the server's description of {description.name} is wrong: {error}") from None
    operation = with_known_elements(definition.operations[name])
    operations = {**definition.operations, name: operation}
    return replace(definition, operations=MappingProxyType(operations))


async def _interfaces(name: str, wait: float) -> list[InterfaceDescription]:
    try:
        async with rpc.connect(Introspection, name, wait=wait) as client:
            # Declared without async, because servers of both drivers serve it.
            found: list[InterfaceDescription] = await rpc.client_of(client).interfaces()
            return found
    except rpc.UnknownInterface:
        raise Failure(
            f"the server at {name} does not list its interfaces; it does with "
            "rpc.serve(..., introspection=True)"
        ) from None


def _listing(interfaces: list[InterfaceDescription]) -> str:
    # Each entry becomes one line, whatever text the server has sent.
    lines: list[str] = []
    for one in interfaces:
        major, minor = one.version
        lines.append(f"{one.name} {major}.{minor} ({one.uuid})")
        for operation in one.operations:
            lines.append(f"  {operation}")
            summary = operation.documentation.partition("\n")[0]
            if summary:
                lines.append(f"      {summary}")
            lines += [
                f"      give {each.name}=@FILE for the bytes of a file, {each.name}=- for stdin"
                for each in operation.parameters
                if each.takes_bytes
            ]
        lines += [f"  type {each}" for each in one.types]
    return "\n".join(map(output.printable, lines))


def _find(described: Sequence[Any], name: str, missing: str) -> Any:
    """Returns the interface or operation of that name. The text of the failure begins with
    ``missing``.
    """
    for one in described:
        if one.name == name:
            return one
    raise Failure(f"{missing} {name}; it has {_names(described)}")


def _names(described: Sequence[Any]) -> str:
    return ", ".join(one.name for one in described) or "none"


async def _make_call(
    client: Client[Any], name: str, arguments: Arguments, limit: float | None
) -> Any:
    operation = getattr(client, name)
    if limit is not None:
        operation = operation.with_options(timeout=limit)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show_progress, arguments, arguments.total)
        try:
            if not isinstance(operation, rpc.IteratedOperation):
                return await operation(**arguments.values)
            async with aclosing(operation(**arguments.values)) as values:
                async for value in values:
                    await write_value("the result", output.write_bytes, value)
            return None
        except (TypeError, ValueError, OverflowError) as error:
            # A value of the user cannot be sent. The text names the parameter.
            raise Failure(str(error)) from None
        finally:
            nursery.cancel_scope.cancel()
