"""POSIX: the methods of a trio stream that send and receive descriptors."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from ...._ffi import ffi
from ....abc import MOST_DESCRIPTORS, HasFileno
from ...common.receive_size import receive_size
from .. import calls, passing

if TYPE_CHECKING:
    from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
# KeyboardInterrupt is raised only where an operation waits. Between its steps, received descriptors
# would have no owner.
_ki_protected = trio.lowlevel.enable_ki_protection


@_ki_protected
async def send_descriptors(
    self: streams.Stream,
    data: bytes | bytearray | memoryview,
    descriptors: Sequence[int | HasFileno],
) -> None:
    outgoing = passing.OutgoingDescriptors(descriptors)
    if self._sending:
        raise trio.BusyResourceError("another task is sending on this stream")
    buffer: Any = data if type(data) is bytes else ffi.from_buffer(data)
    self._sending = True
    try:
        outgoing.check_data(buffer)
        await trio.lowlevel.checkpoint_if_cancelled()
        position: Any = ffi.new(calls.new_position)
        waited = False
        while (code := outgoing.send(self._require_sendable(), buffer, position)) == _AGAIN:
            await trio.lowlevel.wait_writable(self._number)
            waited = True
        if position[0]:
            await self._send_rest(buffer, position[0], len(buffer), 0)
        elif code:
            self._raise_broken(-code)
        elif not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
    finally:
        self._sending = False
        if buffer is not data:
            ffi.release(buffer)


@_ki_protected
async def receive_descriptors(
    self: streams.Stream, max_bytes: int | None = None, max_descriptors: int = MOST_DESCRIPTORS
) -> tuple[bytes, list[int]]:
    incoming = passing.IncomingDescriptors(receive_size(max_bytes), max_descriptors)

    def read(fd: int, incoming: passing.IncomingDescriptors) -> bytes:
        try:
            return incoming.receive(fd)
        except trio.BrokenResourceError as error:
            self._receive_fault = str(error)
            raise

    try:
        data = await self._receive(read, incoming, b"")
        return data, incoming.take()
    except BaseException:
        incoming.close()
        raise
