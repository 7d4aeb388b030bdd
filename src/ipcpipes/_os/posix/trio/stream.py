"""POSIX: connected Unix domain sockets as trio streams."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import trio

from .... import abc
from ...._ffi import ffi
from ....abc import MOST_DESCRIPTORS, HasFileno
from ....errors import DescriptorsLost
from ....framing import Buffer
from ...common.receive_size import receive_size, writable_bytes
from ...common.sent_data import not_text
from ...common.trio_end import TrioEnd
from .. import calls, passing, socket_end

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
# If one read returns this many bytes, more has probably arrived already.
_MUCH = 4096
_INTERRUPTED = "a send_all was interrupted, and a part may have gone out"

# KeyboardInterrupt is raised only where an operation waits. Between its steps, received descriptors
# would have no owner.
_ki_protected = trio.lowlevel.enable_ki_protection

# Looked up once: they are called for every message.
_checkpoint_if_cancelled = trio.lowlevel.checkpoint_if_cancelled
_cancel_shielded_checkpoint = trio.lowlevel.cancel_shielded_checkpoint
_wait_readable = trio.lowlevel.wait_readable


class Socket(socket_end.SocketEnd, TrioEnd):
    """One connected descriptor, in non-blocking mode, until :meth:`aclose`."""

    _receive_waits = False

    def _prepare(self, fd: int) -> None:
        self._sending = self._receiving = self._receive_waits = False
        if self._shut_half is not None:
            calls.close_half(fd, self._shut_half)

    def _buffer_sizes(self) -> tuple[int, int]:
        return calls.buffer_sizes(self._require_open())

    def _close(self) -> None:
        fd, self._number = self._number, -1
        if fd != -1:
            if self._sending or self._receiving:  # otherwise it would be a system call in vain
                trio.lowlevel.notify_closing(fd)
            os.close(fd)
            if self._owner is not None:
                self._owner.released()

    def _require_sendable(self) -> int:
        fd = self._require_open()
        if self._eof_sent:
            raise trio.ClosedResourceError("nothing can be sent after send_eof")
        if self._send_fault is not None:
            raise trio.BrokenResourceError(self._send_fault)
        return fd

    def _give_up(self, number: int) -> None:
        os.close(number)
        if self._owner is not None:
            self._owner.released_elsewhere()


class _Sending(Socket):
    # The ends of pipes use write(2) instead.
    _put = staticmethod(calls.send)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        # cffi takes bytes as they are; anything else is borrowed, not copied.
        buffer: Any = data if type(data) is bytes else ffi.from_buffer(not_text(data))
        self._sending = True
        try:
            await _checkpoint_if_cancelled()
            fd = self._require_sendable()
            length = len(buffer)
            # KeyboardInterrupt can be raised right after the call, and then the result is lost.
            self._send_fault = _INTERRUPTED
            sent = self._put(fd, buffer, 0, length)
            if sent == length:
                self._send_fault = None
                await _cancel_shielded_checkpoint()
                return
            await self._send_rest(buffer, max(sent, 0), length, sent)
        finally:
            self._sending = False
            if buffer is not data:
                ffi.release(buffer)

    _sends_now = True  # Windows cannot send without waiting

    def _send_now(self, data: Buffer) -> int:
        """Sends what the system accepts without waiting, for callers that batch. This is not a
        checkpoint.

        Returns:
            How many bytes were sent, perhaps 0.

        Raises:
            What :meth:`send_all` raises.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        fd = self._number
        if fd == -1 or self._eof_sent or self._send_fault is not None:
            self._require_sendable()
        buffer: Any = data if type(data) is bytes else ffi.from_buffer(data)
        self._send_fault = _INTERRUPTED
        sent = self._put(fd, buffer, 0, len(data))
        self._send_fault = None
        if buffer is not data:
            ffi.release(buffer)
        if sent >= 0:
            return sent
        if sent != _AGAIN:
            self._raise_broken(-sent)
        return 0

    async def _send_rest(self, buffer: object, done: int, length: int, result: int) -> None:
        try:
            while done < length:
                if result < 0 and result != _AGAIN:
                    self._raise_broken(-result)
                if done == 0:
                    self._send_fault = None  # nothing was sent, so cancelling breaks nothing
                await trio.lowlevel.wait_writable(self._require_open())
                self._send_fault = _INTERRUPTED
                result = self._put(self._require_open(), buffer, done, length)
                done += max(result, 0)
        except trio.Cancelled:
            if done > 0:
                self._send_fault = f"a send_all was cancelled after {done} of {length} bytes"
            raise
        self._send_fault = None

    def _raise_broken(self, code: int) -> None:
        self._send_fault = calls.send_fault(code)
        raise trio.BrokenResourceError(self._send_fault)

    async def wait_send_all_might_not_block(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await _checkpoint_if_cancelled()
            await trio.lowlevel.wait_writable(self._require_sendable())
        finally:
            self._sending = False


_ArgumentT = TypeVar("_ArgumentT")
_ResultT = TypeVar("_ResultT")


class _Receiving(Socket):
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._receive(os.read, receive_size(max_bytes), b"")

    def _receive_up_to(self, size: int) -> Coroutine[Any, Any, bytes]:
        """Returns a coroutine that does the same as :meth:`receive_some`, in fewer steps."""
        return self._receive(os.read, size, b"")

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        with writable_bytes(buffer) as view:
            return await self._receive(os.readv, (view,), 0)

    def _receive_now(self, buffer: memoryview | None, max_bytes: int) -> bytes | int | None:
        """Receives into ``buffer``, or up to ``max_bytes`` if it is ``None``, without waiting and
        without a checkpoint.

        Returns:
            bytes, or the number of bytes in ``buffer``; no bytes, or 0, at the end; ``None`` if
            nothing has arrived.

        Raises:
            What :meth:`receive_some` raises.
        """
        if buffer is None:
            return self._read_arrived(os.read, max_bytes, b"")
        return self._read_arrived(os.readv, (buffer,), 0)

    def _read_arrived(
        self, read: Callable[[int, _ArgumentT], _ResultT], argument: _ArgumentT, end: _ResultT
    ) -> _ResultT | None:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        fd = self._require_open()
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(self._receive_fault)
        try:
            return read(fd, argument)
        except BlockingIOError:
            return None
        except DescriptorsLost:  # an OSError too
            raise
        except OSError as error:
            self._check_end(error)
            return end

    def _is_ready(self) -> bool:
        """Returns whether a receive would not have to wait.

        Raises:
            trio.BusyResourceError, trio.ClosedResourceError: as for :meth:`receive_some`.
        """
        self._require_no_receiver()
        return calls.can_be_read(self._require_open()) or self._receive_fault is not None

    def _require_no_receiver(self) -> None:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")

    async def _wait_ready(self) -> None:
        """Waits until :meth:`_is_ready` returns true. Receives nothing."""
        self._require_no_receiver()
        self._receiving = True
        try:
            await _wait_readable(self._require_open())
        finally:
            self._receiving = False

    async def _receive(
        self, read: Callable[[int, _ArgumentT], _ResultT], argument: _ArgumentT, end: _ResultT
    ) -> _ResultT:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            fd = self._require_open()
            if self._receive_fault is not None:
                raise trio.BrokenResourceError(self._receive_fault)
            # If the last receive had to wait for little, this one probably has to wait too. Then a
            # read that finds nothing would cost a system call and an exception. If there is data
            # after all, the wait returns after one pass of the scheduler.
            waited = self._receive_waits
            if waited:
                await _wait_readable(fd)
            else:
                await _checkpoint_if_cancelled()
            while True:
                # os.read fills a new bytes object; a function of the C layer would have to copy.
                try:
                    result = read(self._number, argument)  # -1 if it was closed meanwhile
                    break
                except BlockingIOError:
                    await _wait_readable(self._number)
                    waited = True
                except DescriptorsLost:  # an OSError too
                    raise
                except OSError as error:
                    self._check_end(error)
                    result = end
                    break
            size: Any = result if type(result) is int else len(result)  # type: ignore[arg-type]
            self._receive_waits = waited and size < _MUCH
            if not waited:
                await _cancel_shielded_checkpoint()
            return result
        finally:
            self._receiving = False


class Stream(_Sending, _Receiving, abc.ByteStream, trio.abc.HalfCloseableStream):
    """A connection in both directions; see :class:`ipcpipes.abc.ByteStream`."""

    carries_descriptors = True

    @_ki_protected
    async def send_descriptors(
        self,
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
        self, max_bytes: int | None = None, max_descriptors: int = MOST_DESCRIPTORS
    ) -> tuple[bytes, list[int]]:
        incoming = passing.IncomingDescriptors(receive_size(max_bytes), max_descriptors)
        try:
            data = await self._receive(self._read_descriptors, incoming, b"")
            return data, incoming.take()
        except BaseException:
            incoming.close()
            raise

    def _receive_descriptors_now(self, max_descriptors: int) -> tuple[bytes, list[int]] | None:
        """Does the same as :meth:`receive_descriptors`, without waiting and without a checkpoint.
        Returns ``None`` if nothing has arrived.
        """
        incoming = passing.IncomingDescriptors(receive_size(None), max_descriptors)
        try:
            data = self._read_arrived(self._read_descriptors, incoming, b"")
            return None if data is None else (data, incoming.take())
        except BaseException:
            incoming.close()
            raise

    def _read_descriptors(self, fd: int, incoming: passing.IncomingDescriptors) -> bytes:
        try:
            return incoming.receive(fd)
        except trio.BrokenResourceError as error:
            self._receive_fault = str(error)
            raise

    async def _receive_buffered(
        self, place: Callable[[], memoryview | None], max_bytes: int
    ) -> bytes | tuple[memoryview, int]:
        """Receives into the memory that ``place`` returns, or as bytes if it returns ``None``.
        ``place`` is called when something can be read, so that a waiting task holds no memory.

        Returns:
            Bytes, or the memory and the number of bytes in it; no bytes at the end.

        Raises:
            What :meth:`receive_some` raises.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            # An attempt before the wait would save nothing: this has to be a checkpoint anyway.
            await _wait_readable(self._require_open())
            while True:
                memory = place()
                try:
                    fd = self._require_open()
                    if memory is None:
                        return os.read(fd, max_bytes)
                    return memory, os.readv(fd, (memory,))
                except BlockingIOError:
                    await _wait_readable(self._require_open())
                except OSError as error:
                    self._check_end(error)
                    return b""
        finally:
            self._receiving = False

    def _send_two_now(self, head: bytes, data: memoryview, start: int) -> int:
        """Sends ``head`` and then ``data``, beginning with byte ``start`` of the two together, as
        far as the system accepts them without waiting. This is not a checkpoint.

        Returns:
            How many bytes were sent, perhaps 0.

        Raises:
            What :meth:`send_all` raises.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        fd = self._number
        if fd == -1 or self._eof_sent or self._send_fault is not None:
            self._require_sendable()
        # The buffer is always released: an exception's traceback can be a reference cycle, and in
        # such a cycle memory that cffi has borrowed can crash the garbage collector (Python 3.10,
        # 3.11).
        buffer: Any = ffi.from_buffer(data)
        try:
            self._send_fault = _INTERRUPTED
            sent = calls.send_two(fd, head, len(head), buffer, len(buffer), start)
            self._send_fault = None
        finally:
            ffi.release(buffer)
        if sent < 0 and sent != _AGAIN:
            self._raise_broken(-sent)
        return max(sent, 0)

    async def _wait_sendable(self) -> None:
        """Waits until the system accepts more, for the caller of :meth:`_send_two_now`."""
        fd = self._require_sendable()
        self._sending = True
        try:
            await trio.lowlevel.wait_writable(fd)
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Ends the sending direction; receiving remains possible. Idempotent.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is sending.
            trio.BrokenResourceError: an earlier ``send_all`` was cancelled half-way; with the end
                of the stream, the part would look complete.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            if not self._eof_sent or self._number == -1:
                fd = self._require_sendable()
                self._eof_sent = True
                calls.close_half(fd, True)
        finally:
            self._sending = False


class SendStream(_Sending, abc.SendByteStream):
    """A connection that this end only sends on."""

    _shut_half: ClassVar[bool | None] = False


class ReceiveStream(_Receiving, abc.ReceiveByteStream):
    """A connection that this end only receives from."""

    _shut_half: ClassVar[bool | None] = True
