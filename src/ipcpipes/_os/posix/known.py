"""POSIX: where this process has found the servers of plain names.

To find the directory of a plain name takes several system calls. A client that connects again tries
the address of the last time first. Its directory is checked again each time. If the check or the
connection fails, the client searches again, and reports the result of that search.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from ..._ffi import lib
from ...endpoint import Endpoint
from . import address as addresses

assert sys.platform != "win32" or not TYPE_CHECKING

_MOST = 256


class _Place(NamedTuple):
    address: bytes
    directory: bytes
    parent: bytes
    is_parent_shared: bool


# By the name and what decides where it is.
_places: dict[tuple[str, bytes | None, int], _Place] = {}


def address_of(endpoint: Endpoint) -> bytes | None:
    """Returns where a server of this plain name was found, if only this user can put a socket
    there; otherwise ``None``.
    """
    if endpoint.kind != "named":
        return None
    key = _key(endpoint)
    place = _places.get(key)
    if place is None:
        return None
    address, directory, parent, is_parent_shared = place
    is_private = lib.ipc_is_private(directory, parent, key[2], is_parent_shared)
    return address if is_private else None


def remember(endpoint: Endpoint, address: bytes) -> None:
    """Remembers where a server was found."""
    if endpoint.kind != "named":
        return
    if len(_places) >= _MOST:
        _places.clear()
    directory = os.path.dirname(address)
    is_parent_shared = addresses.is_last_resort(directory)
    _places[_key(endpoint)] = _Place(
        address, directory, os.path.dirname(directory), is_parent_shared
    )


def _key(endpoint: Endpoint) -> tuple[str, bytes | None, int]:
    return endpoint.name, os.environb.get(b"XDG_RUNTIME_DIR"), os.geteuid()
