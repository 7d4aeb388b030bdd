"""POSIX: Unix domain sockets as trio streams and listeners."""

from __future__ import annotations

import errno
import logging
import math
import os
import sys
import warnings
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import trio

from .. import abc
from .._ffi import ffi
from ..abc import PeerIdentity
from ..endpoint import Endpoint
from ..errors import connect_error, in_use_error
from . import posix_calls as calls, posix_claim

assert sys.platform != "win32" or not TYPE_CHECKING

logger = logging.getLogger("ipcpipes")

DEFAULT_RECEIVE_SIZE = 65536
_AGAIN = -errno.EAGAIN
_BACKLOG_LIMIT = 4096
_EXHAUSTED = {-errno.EMFILE, -errno.ENFILE, -errno.ENOMEM, -errno.ENOBUFS}
_EXHAUSTION_PAUSE = 0.05  # seconds


class _Socket(abc.Connection):
    """One connected descriptor.

    Lifetime: it owns ``fd`` from :meth:`__init__` to :meth:`aclose`; ``_fd`` is -1 afterwards,
    so that a number which the system has given to something else is never used.
    """

    _shut_half: ClassVar[bool | None] = None

    def __init__(
        self,
        fd: int,
        endpoint: Endpoint,
        address: bytes,
        credentials: calls.Credentials,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._fd = fd
        self._endpoint = endpoint
        self._address = address
        self._credentials = credentials
        self._peer: PeerIdentity | None = None
        self._on_close = on_close
        self._sending = False
        self._receiving = False
        self._send_fault: str | None = None
        self._eof_sent = False
        if self._shut_half is not None:
            calls.close_half(fd, self._shut_half)

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return calls.readable(self._address)

    @property
    def peer(self) -> PeerIdentity:
        if self._peer is None:
            self._require_open()
            self._peer = self._credentials.identity()
        return self._peer

    @property
    def send_buffer_size(self) -> int:
        return calls.buffer_size(self._require_open(), sending=True)

    @property
    def receive_buffer_size(self) -> int:
        return calls.buffer_size(self._require_open(), sending=False)

    def _require_open(self) -> int:
        if self._fd == -1:
            raise trio.ClosedResourceError("this stream was closed here")
        return self._fd

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd != -1:
            trio.lowlevel.notify_closing(fd)
            os.close(fd)
            if self._on_close is not None:
                self._on_close()

    async def aclose(self) -> None:
        self._close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) != -1:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            os.close(self._fd)

    def __repr__(self) -> str:
        state = "closed" if self._fd == -1 else f"fd {self._fd}"
        return f"<ipcpipes {type(self).__name__} {self.address!r} {state}>"


class _Sending(_Socket):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            fd = self._require_sendable()
            # cffi takes bytes as they are; anything else is borrowed, not copied.
            buffer = data if type(data) is bytes else ffi.from_buffer(data)
            length = len(buffer)
            sent = calls.send(fd, buffer, 0, length)
            if sent == length:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return
            await self._send_rest(buffer, max(sent, 0), length, sent)
        finally:
            self._sending = False

    async def _send_rest(self, buffer: object, done: int, length: int, result: int) -> None:
        try:
            while done < length:
                if result < 0 and result != _AGAIN:
                    self._raise_broken(-result)
                await trio.lowlevel.wait_writable(self._require_open())
                result = calls.send(self._require_open(), buffer, done, length)
                done += max(result, 0)
        except BaseException:
            # Cancelled, mostly; a KeyboardInterrupt has the same effect.
            if done > 0 and self._send_fault is None:
                self._send_fault = f"a send_all was cancelled after {done} of {length} bytes"
            raise

    def _require_sendable(self) -> int:
        fd = self._require_open()
        if self._eof_sent:
            raise trio.ClosedResourceError("nothing can be sent after send_eof")
        if self._send_fault is not None:
            raise trio.BrokenResourceError(self._send_fault)
        return fd

    def _raise_broken(self, code: int) -> None:
        self._send_fault = f"the other end has closed or died ({os.strerror(code)})"
        raise trio.BrokenResourceError(self._send_fault)

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            await trio.lowlevel.wait_writable(self._require_sendable())
        finally:
            self._sending = False


class _Receiving(_Socket):
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_SIZE
        elif not isinstance(max_bytes, int):
            raise TypeError(f"max_bytes must be an int or None, not {max_bytes!r}")
        elif max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            waited = False
            while True:
                # read(2) into a new bytes object: a C function of ours would have to copy.
                try:
                    data = os.read(self._require_open(), max_bytes)
                    break
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self._fd)
                    waited = True
                except ConnectionResetError:
                    # The peer closed before it had read all that we sent: that is its affair,
                    # to us it is the end of the stream.
                    data = b""
                    break
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data
        finally:
            self._receiving = False


class Stream(_Sending, _Receiving, abc.ByteStream, trio.abc.HalfCloseableStream):
    """A connection in both directions; see :class:`ipcpipes.abc.ByteStream`."""

    async def send_eof(self) -> None:
        """Ends what this end sends; the other direction goes on. Twice is as good as once.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is sending.
            trio.BrokenResourceError: an earlier ``send_all`` was cancelled half-way; the end
                of the stream would make the part look like the whole.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        await trio.lowlevel.checkpoint()
        if not self._eof_sent or self._fd == -1:
            fd = self._require_sendable()
            self._eof_sent = True
            calls.close_half(fd, True)


class SendStream(_Sending, abc.SendByteStream):
    """A connection that this end only sends on."""

    _shut_half = False


class ReceiveStream(_Receiving, abc.ReceiveByteStream):
    """A connection that this end only receives from."""

    _shut_half = True


Direction = Literal["duplex", "send", "receive"]
StreamT = TypeVar("StreamT", Stream, SendStream, ReceiveStream)
# Any: that the direction and the type go together is said once, in connect.py's overloads.
_STREAMS: dict[str, Any] = {"duplex": Stream, "send": SendStream, "receive": ReceiveStream}


def connect(
    endpoint: Endpoint, *, direction: Direction, buffer_size: int | None, waited: float
) -> Any:
    """Connects at once; ``waited`` is for the message of the error."""
    address = calls.resolve(endpoint)
    calls.check_place(endpoint, address, create=False)
    fd = calls.connect(address)
    if fd < 0:
        where = calls.readable(address)
        raise connect_error("errno", -fd, endpoint, where, waited=waited)
    return _make_stream(fd, endpoint, address, direction, buffer_size, None)


def _make_stream(
    fd: int,
    endpoint: Endpoint,
    address: bytes,
    direction: Direction,
    buffer_size: int | None,
    on_close: Callable[[], None] | None,
    credentials: calls.Credentials | None = None,
) -> Any:
    """Takes ``fd`` over: it belongs to the stream, or is closed."""
    try:
        if buffer_size is not None:
            calls.set_buffer_size(fd, buffer_size)
        if credentials is None:
            credentials = calls.peer_credentials(fd)
    except BaseException:
        os.close(fd)
        raise
    return _STREAMS[direction](fd, endpoint, address, credentials, on_close)


class Listener(abc.Listener[StreamT]):
    """A listening socket and the claim to its name.

    ``max_instances`` counts accepted streams that are open. So that a client above the limit
    hears of it at once instead of waiting unheard in the kernel's queue, the queue is kept no
    longer than what is free, by listen(2) again; and because the kernel's shortest queue
    holds one, that one place is taken by a connection of our own (the plug) while nothing is
    free. A client that slips in during the instant before the plug waits in the queue.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        address: bytes,
        claim: posix_claim.Claim | None,
        fd: int,
        *,
        direction: Direction,
        max_instances: int | None,
        backlog: int,
        buffer_size: int | None,
        permissions: calls.Permissions,
    ) -> None:
        self._endpoint = endpoint
        self._address = address
        self._claim = claim
        self._fd = fd
        self._direction: Direction = direction
        self._max_instances = math.inf if max_instances is None else max_instances
        self._backlog = backlog
        self._buffer_size = buffer_size
        self._admits = permissions.admits
        self._open_count = 0
        self._plug = -1
        self._arrived: deque[int] = deque()
        self._room = trio.lowlevel.ParkingLot()
        self._accepting = False

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return calls.readable(self._address)

    @property
    def connection_count(self) -> int:
        return self._open_count

    async def accept(self) -> StreamT:
        if self._accepting:
            raise trio.BusyResourceError("another task is accepting from this listener")
        self._accepting = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            while True:
                self._require_open()
                if self._open_count >= self._max_instances:
                    await self._room.park()
                    continue
                fd = self._arrived.popleft() if self._arrived else calls.accept(self._fd)
                if fd == _AGAIN:
                    await trio.lowlevel.wait_readable(self._fd)
                elif fd in _EXHAUSTED:
                    logger.warning("%r: %s; waiting for it to end", self, os.strerror(-fd))
                    await trio.sleep(_EXHAUSTION_PAUSE)
                elif fd >= 0 and (stream := self._admit(fd)) is not None:
                    break
                else:
                    await trio.lowlevel.checkpoint()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return stream
        finally:
            self._accepting = False

    def _admit(self, fd: int) -> StreamT | None:
        """Takes ``fd`` over; ``None`` for a client that has left or may not come in."""
        try:
            credentials = calls.peer_credentials(fd)
            welcome = calls.peer_left(fd) == 0
            if welcome and not self._admits(credentials):
                welcome = False
                logger.warning("%r: turned away %s", self, credentials.identity())
        except OSError:
            welcome = False
        if not welcome:
            os.close(fd)
            return None
        stream: StreamT = _make_stream(
            fd,
            self._endpoint,
            self._address,
            self._direction,
            self._buffer_size,
            self._released,
            credentials,
        )
        self._open_count += 1
        self._fit_queue()
        return stream

    def _released(self) -> None:
        self._open_count -= 1
        self._room.unpark()
        self._fit_queue()

    def _fit_queue(self) -> None:
        if self._fd == -1 or self._max_instances == math.inf:
            return
        free = int(self._max_instances) - self._open_count - len(self._arrived)
        calls.set_backlog(self._fd, min(max(free, 1), self._backlog) - 1)
        if free <= 0 and self._plug == -1:
            self._plug = max(calls.connect(self._address), -1)
        elif free > 0 and self._plug != -1:
            os.close(self._plug)
            self._plug = -1
            # Usually this is the plug's other end; it must not keep its place in the queue.
            fd = calls.accept(self._fd)
            if fd >= 0:
                if calls.peer_left(fd) == 0:
                    self._arrived.append(fd)
                else:
                    os.close(fd)

    def _require_open(self) -> None:
        if self._fd == -1:
            raise trio.ClosedResourceError("this listener was closed here")

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd == -1:
            return
        # The name first: a client that finds it would be turned away a moment later.
        if self._claim is not None:
            self._claim.release()
        trio.lowlevel.notify_closing(fd)
        os.close(fd)
        for other in (self._plug, *self._arrived):
            if other != -1:
                os.close(other)
        self._plug = -1
        self._arrived.clear()
        self._room.unpark_all()

    async def aclose(self) -> None:
        self._close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) != -1:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            if self._claim is not None:
                self._claim.release()
            for fd in (self._fd, self._plug, *self._arrived):
                if fd != -1:
                    os.close(fd)

    def __repr__(self) -> str:
        state = " closed" if self._fd == -1 else ""
        return f"<ipcpipes Listener {self.address!r}{state}>"


def listen(
    endpoint: Endpoint,
    *,
    direction: Direction,
    max_instances: int | None,
    backlog: int,
    buffer_size: int | None,
    permissions: calls.Permissions,
) -> Listener[Any]:
    """Takes the name and listens; what it made is gone again when it fails."""
    address = calls.resolve(endpoint)
    calls.check_place(endpoint, address, create=True)
    claim = posix_claim.Claim(endpoint, address) if address[:1] != b"\0" else None
    fd = -1
    try:
        length = min(backlog, max_instances or backlog, _BACKLOG_LIMIT)
        try:
            fd = calls.listen(address, permissions.mode, length - 1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise in_use_error(endpoint, calls.readable(address), None) from None
            raise connect_error(
                "errno", error.errno or errno.EIO, endpoint, calls.readable(address)
            ) from None
        if claim is not None:
            claim.bound()
    except BaseException:
        if fd != -1:
            os.close(fd)
        if claim is not None:
            claim.release()
        raise
    return Listener(
        endpoint,
        address,
        claim,
        fd,
        direction=direction,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
        permissions=permissions,
    )
