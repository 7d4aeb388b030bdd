"""Lists what a server offers, or makes one call."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import Any

import msgspec
import trio

import ipcpipes

from ... import rpc
from ...rpc._trio.client import Client, client_of
from ...rpc.definition.introspection import InterfaceDescription, Introspection, definition_of
from ...rpc.definition.operations import Operation
from ...rpc.wire.format import Limits
from .. import output
from ..failure import Failure
from ..progress import show_progress
from .given import Given, Traffic

__all__ = ["call"]


async def call(arguments: argparse.Namespace) -> None:
    """Does what the command line asks for, and prints what came of it.

    Raises:
        Failure: the command line asks for something that is not there.
        EndpointError, rpc.RpcError, OSError: it did not work.
    """
    interfaces = await _interfaces(arguments)
    if arguments.operation is None:
        output.write(_listing(interfaces) or "nothing but the list itself")
        return
    description = _interface(interfaces, arguments.operation)
    definition = definition_of(description)
    name = arguments.operation.rpartition(".")[2]
    operation = definition.operations.get(name)
    if operation is None:
        raise Failure(
            f"{description.name} has no operation {name}; it has "
            f"{', '.join(definition.operations) or 'none'}"
        )
    with ExitStack() as files:
        described = next(one for one in description.operations if one.name == name)
        given = Given(operation, described, arguments.arguments, files, raw=arguments.raw)
        await given.read()
        stream = await ipcpipes.connect(arguments.name, wait=arguments.wait)
        async with client_of(definition, stream, Limits(), None) as client:
            result = await _made(client, operation, given, arguments.timeout)
    if not operation.options.maybe:
        text = _printable_json(result)
        if not given.uses_stdout:
            output.write(text)
        elif result is not None:
            output.complain(f"result: {text}")


def _printable_json(value: Any) -> str:
    """What a terminal would obey is escaped in JSON's own way."""
    text = msgspec.json.encode(value, enc_hook=repr).decode()
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


async def _interfaces(arguments: argparse.Namespace) -> list[InterfaceDescription]:
    try:
        async with rpc.connect(Introspection, arguments.name, wait=arguments.wait) as client:
            found: list[InterfaceDescription] = await client.interfaces()
            return found
    except rpc.UnknownInterface:
        raise Failure(
            f"the server at {arguments.name} does not say what it offers; it would with "
            "rpc.serve(..., introspection=True)"
        ) from None


def _listing(interfaces: list[InterfaceDescription]) -> str:
    # Each of these is printed as one line, whatever text the server has sent.
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


def _interface(interfaces: list[InterfaceDescription], wanted: str) -> InterfaceDescription:
    name, dot, _ = wanted.rpartition(".")
    names = ", ".join(one.name for one in interfaces) or "none"
    if not dot:
        raise Failure(f"{wanted} is no INTERFACE.OPERATION; the interfaces are {names}")
    for one in interfaces:
        if one.name == name:
            return one
    raise Failure(f"the server has no interface {name}; it has {names}")


async def _made(
    client: Client[Any], operation: Operation, given: Given, limit: float | None
) -> Any:
    traffic = Traffic()
    made = getattr(client, operation.name)
    if limit is not None:
        made = made.with_options(timeout=limit)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(show_progress, traffic, given.total)
        try:
            return await made(**given.values, **given.pipes(traffic))
        except TypeError as error:
            # A value of the user's, whose text names the parameter.
            raise Failure(str(error)) from None
        finally:
            nursery.cancel_scope.cancel()
            if sys.stdout is not None and given.uses_stdout:
                sys.stdout.flush()
