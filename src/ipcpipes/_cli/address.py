"""Prints where an endpoint is."""

from __future__ import annotations

import argparse

import ipcpipes

from . import output

__all__ = ["address"]


async def address(arguments: argparse.Namespace) -> None:
    """Prints the real address of the endpoint that the user names.

    Raises:
        InvalidEndpoint, NotSupported: it has none on this system.
    """
    output.write_path(ipcpipes.Endpoint.of(arguments.name).address)
