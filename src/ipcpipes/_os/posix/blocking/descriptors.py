"""POSIX: the methods of a stream without an event loop that send and receive descriptors."""

from __future__ import annotations

import errno
import select
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from ...._ffi import ffi
from ....abc import MOST_DESCRIPTORS, HasFileno
from ....framing import Buffer
from ...common.deadline import Deadline
from ...common.receive_size import RECEIVE_INTERRUPTED, receive_size
from ...handles.attached import AttachedDescriptors
from .. import passing

if TYPE_CHECKING:
    from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
_INTERRUPTED = -errno.EINTR


def send_descriptors(
    self: streams.Stream,
    data: bytes | bytearray | memoryview,
    descriptors: Sequence[int | HasFileno],
    *,
    timeout: float | None = None,
) -> None:
    deadline = None if timeout is None else Deadline.after(timeout)
    outgoing = passing.OutgoingDescriptors(descriptors)
    buffer: Any = data if type(data) is bytes else ffi.from_buffer(data)
    try:
        outgoing.check_data(buffer)
        self._locked(
            self._may_send, "sending on", self._put_descriptors, buffer, outgoing, deadline
        )
    finally:
        if buffer is not data:
            ffi.release(buffer)


def put_descriptors(
    self: streams.Stream,
    data: Any,
    outgoing: passing.OutgoingDescriptors,
    deadline: Deadline | None,
) -> None:
    """Sends all of it, and the descriptors with its first byte. The caller holds the send lock."""
    wait = deadline is None
    first = True
    try:
        while True:
            self._require_sendable()
            code = outgoing.send(self._send_number, data, self._position, wait=wait)
            if self._position[0]:
                self._put_rest(data, deadline, code)
                return
            if not code:
                return
            if code == _AGAIN and deadline is not None:
                self._wait(select.POLLOUT, deadline, "not all could be sent", first=first)
                first = False
            elif code != _INTERRUPTED:
                self._raise_unsendable(-code)
    except BaseException:
        # As for a send without descriptors: only the C layer knows how much was sent.
        if self._position[0]:
            self._send_number = -1
            self._break(f"a send was interrupted after {self._position[0]} bytes")
        raise


def put_pieces_with(
    self: streams.Stream,
    pieces: Sequence[Buffer],
    descriptors: Sequence[int | HasFileno],
    deadline: Deadline | None,
) -> None:
    """Sends all pieces, and the descriptors with the first byte. The caller holds the send lock."""
    outgoing = passing.OutgoingDescriptors(descriptors)
    first, *rest = pieces
    try:
        with ffi.from_buffer(first) as buffer:
            self._put_descriptors(buffer, outgoing, deadline)
        self._put_pieces(rest, deadline)
    except BaseException:
        # The first piece may be sent; if only a part of it was, the stream is broken already.
        if rest and outgoing.code in (0, _INTERRUPTED):
            self._send_number = -1
            self._break("a send was interrupted half-way")
        raise


def receive_descriptors(
    self: streams.Stream,
    max_bytes: int | None = None,
    max_descriptors: int = MOST_DESCRIPTORS,
    *,
    timeout: float | None = None,
) -> tuple[bytes, list[int]]:
    deadline = None if timeout is None else Deadline.after(timeout)
    size = receive_size(max_bytes)
    incoming = passing.IncomingDescriptors(size, max_descriptors)
    try:
        try:
            del self._may_receive["turn"]
        except KeyError:
            raise self._busy("receiving from") from None
        try:
            if self._came is not None:
                came = self._require_whole()
                data, self._came = came[:size], came[size:] or None
                return data, []
            data = self._get_descriptors(incoming, deadline)
            numbers = incoming.take()
            self._receive_fault = None
            return data, numbers
        finally:
            self._may_receive["turn"] = None
            if self._number == -1:
                self._leave()
    except BaseException:
        incoming.close()
        raise


def get_descriptors(
    self: streams.Stream, incoming: passing.IncomingDescriptors, deadline: Deadline | None
) -> bytes:
    """1 byte or more and the descriptors with them, ``b""`` at the end. The caller holds the
    receive lock.

    Descriptors cannot be kept for the next receive, so a signal handler's exception breaks the
    stream once something has come: ``_receive_fault`` is already set when this returns, and the
    caller clears it as the last step.
    """
    if self._receive_fault is not None:
        self._raise_fault()
    if deadline is not None:
        self._wait(select.POLLIN, deadline, "nothing was received", first=True)
    self._receive_fault = RECEIVE_INTERRUPTED
    try:
        data = incoming.receive(self._number)
    except trio.BrokenResourceError as error:
        self._receive_fault = str(error)
        raise
    except BaseException as error:
        if not incoming.has_come:
            self._receive_fault = None
            if isinstance(error, OSError):
                self._check_end(error)
                return b""
        raise
    if not data:
        self._receive_fault = None
        self._require_open()
    return data


def get_enclosed(
    self: streams.Stream, attached: AttachedDescriptors, deadline: Deadline | None
) -> bytes:
    """As :func:`get_descriptors`, for a channel. It puts the descriptors into ``attached``; the
    channel clears ``_receive_fault`` when it has the messages.
    """
    incoming = passing.IncomingDescriptors(receive_size(None), attached.most)
    try:
        data = self._get_descriptors(incoming, deadline)
        attached.came(incoming.take())
    except BaseException:
        incoming.close()
        raise
    return data
