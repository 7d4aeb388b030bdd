"""Windows: connected named pipes as trio streams.

Every handle is overlapped and bound to trio's completion port. The C layer submits an overlapped
operation, and ``trio.lowlevel.wait_overlapped`` waits for its completion. A cancellation asks the
system to cancel the operation, waits for the completion, and raises ``Cancelled`` only if the
operation was really cancelled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import trio

from .... import abc
from ...._ffi import ffi
from ....abc import PeerIdentity
from ....errors import NotSupported
from ....framing import Buffer
from ...common.receive_size import receive_size, writable_bytes
from ...common.sent_data import not_text
from ...common.trio_end import TrioEnd
from .. import calls, impersonation, passing, pipe_end
from ..opened import Opened

assert sys.platform == "win32" or not TYPE_CHECKING

# Memory that the system may still write to, of tasks that were destroyed with their event loop.
_abandoned: list[object] = []


class Pipe(pipe_end.PipeEnd, TrioEnd):
    """One handle of a pipe.

    Lifetime: it owns the handle in ``opened`` from the end of :meth:`__init__` to :meth:`aclose`.
    A buffer and an operation belong to the frame that awaits the operation.

    Attributes:
        _pending: the number of pending operations.
        _doomed: after closing, the handle while operations are pending; -1 otherwise.
    """

    _pending = 0
    _doomed = -1

    def _prepare(self, handle: int) -> None:
        try:
            trio.lowlevel.register_with_iocp(handle)
        except OSError as error:
            # ERROR_INVALID_PARAMETER; a pipe's end has one completion port in its whole life.
            if error.winerror != 87 or not self._endpoint._is_number:
                raise
            raise NotSupported(
                f"{self._endpoint}: the process that this handle comes from has used it with its "
                "event loop, and no other process can; hand over an end that was not used"
            ) from None

    def _require_whole(self) -> None:
        raise NotSupported(
            "a pipe's end belongs to one completion port in its whole life, and trio has bound it "
            "to its own; use ipcpipes.blocking for connections that go to another process"
        )

    def _look_up_peer(self, handle: int) -> PeerIdentity:
        if self._known_process is not None:
            return calls.process_identity(self._known_process)
        return calls.peer_identity(handle, server_end=self._server_end)

    def _client(self) -> impersonation.Client:
        return impersonation.Client(self._require_open())

    def _buffer_sizes(self) -> tuple[int, int]:
        if self._number == -1:
            raise self._closed_here()
        return calls.buffer_sizes(self._number)

    async def _read(self, memory: Any, size: int, owner: object) -> tuple[int, int]:
        """Reads once. Returns the error code and the number of bytes; see :meth:`finish`."""
        operation = calls.new_operation()
        code = calls.begin_read(self._require_open(), operation, memory, size)
        if code == 0:
            code = await self.finish(operation, owner)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return code, int(calls.transferred(operation))

    def _read_now(self, memory: Any, size: int) -> tuple[int, int] | None:
        """Does the same as :meth:`_read`, without waiting. Returns ``None`` if nothing has
        arrived: then the read was cancelled, which takes nothing.
        """
        handle = self._require_open()
        operation = calls.new_operation()
        with Opened() as opened:
            event = calls.create_event(opened)
            code = calls.transfer(handle, operation, memory, size, False, event, event, 0)
            if code == calls.WAIT_TIMEOUT:
                code = calls.abandon(handle, operation)
        if code == calls.ERROR_OPERATION_ABORTED:
            return None
        return code, int(calls.transferred(operation))

    async def finish(self, operation: Any, owner: object) -> int:
        """Waits for the completion of a submitted operation. Returns its error code, 0 for success.

        Args:
            owner: keeps the operation's memory alive and in place.
        """
        self._pending += 1
        try:
            await trio.lowlevel.wait_overlapped(self._number, calls.operation_address(operation))
        except OSError as error:
            return error.winerror or -1
        except GeneratorExit:
            _abandoned.append((operation, owner))
            raise
        finally:
            self._pending -= 1
            if self._pending == 0 and self._doomed != -1:
                calls.close(self._doomed)
                self._doomed = -1
        return 0

    def _close(self) -> None:
        handle, self._number = self._number, -1
        if handle == -1:
            return
        try:
            # Before the handle is closed: the listener makes the next instance, so that the name
            # does not vanish with the last one.
            if self._owner is not None:
                self._owner.released()
        finally:
            # The peer can still read what was written; DisconnectNamedPipe would discard it.
            if self._pending == 0:
                calls.close(handle)
            else:
                # trio needs the handle to cancel the pending operations. The last of them closes
                # it; see finish().
                self._doomed = handle
                calls.cancel(handle)

    def _give_up(self, number: int) -> None:
        if self._owner is None:
            calls.close(number)
        else:
            self._owner.released_elsewhere(number)


class _Sending(Pipe):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._require_sendable()
            view = memoryview(not_text(data))
            with ffi.from_buffer(view) as buffer:
                length = len(buffer)
                if length == 0:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                done = 0
                try:
                    while done < length:
                        done += await self._send_part(buffer + done, length - done, view)
                except BaseException:
                    # Mostly Cancelled; a KeyboardInterrupt has the same effect. The system does
                    # not tell how much of a cancelled write the peer has read.
                    if self._send_fault is None:
                        self._send_fault = f"a send_all of {length} bytes was cancelled half-way"
                    raise
        finally:
            self._sending = False

    _sends_now = False  # whether _send_now can send anything

    def _send_now(self, data: Buffer) -> int:
        """Sends nothing and returns 0, because every write has to wait: the completion port reports
        every overlapped operation, even one that completes at once.
        """
        return 0

    def _send_two_now(self, head: bytes, data: memoryview, start: int) -> int:
        """Sends nothing and returns 0, like :meth:`_send_now`."""
        return 0

    async def _wait_sendable(self) -> None:
        """Is never called, because :attr:`_sends_now` is false."""
        raise NotImplementedError

    async def _send_part(self, start: Any, length: int, owner: memoryview) -> int:
        operation = calls.new_operation()
        size = min(length, calls.LARGEST_WRITE)
        code = calls.begin_write(self._require_open(), operation, start, size)
        if code == 0:
            self.sent_some = True
            code = await self.finish(operation, owner)
        if code != 0:
            self._require_open()
            self._send_fault = calls.send_fault(code)
            raise trio.BrokenResourceError(self._send_fault)
        return int(calls.transferred(operation))

    async def wait_send_all_might_not_block(self) -> None:
        """Only a checkpoint: Windows does not tell when a pipe has room again."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._require_sendable()
        await trio.lowlevel.checkpoint()


class _Receiving(Pipe):
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        size = receive_size(max_bytes)
        buffer = calls.new_buffer("char[]", size)
        count = await self._receive(buffer, size, buffer)
        return ffi.buffer(buffer, count)[:] if count else b""

    def _receive_up_to(self, size: int) -> Coroutine[Any, Any, bytes]:
        """Returns a coroutine that does the same as :meth:`receive_some`. On POSIX, it has fewer
        steps.
        """
        return self.receive_some(size)

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        view = writable_bytes(buffer)
        with ffi.from_buffer(view) as memory:
            return await self._receive(memory, min(len(memory), calls.LARGEST_READ), view)

    def _receive_now(self, buffer: memoryview | None, max_bytes: int) -> bytes | int | None:
        """Receives into ``buffer``, or up to ``max_bytes`` if it is ``None``, without waiting and
        without a checkpoint.

        Returns:
            bytes, or the number of bytes in ``buffer``; no bytes, or 0, at the end; ``None`` if
            nothing has arrived.

        Raises:
            What :meth:`receive_some` raises.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        if buffer is None:
            memory = calls.new_buffer("char[]", max_bytes)
            count = self._read_arrived(memory, max_bytes)
            return None if count is None else ffi.buffer(memory, count)[:]
        with ffi.from_buffer(buffer) as memory:
            return self._read_arrived(memory, min(len(memory), calls.LARGEST_READ))

    def _is_ready(self) -> bool:
        """Returns whether a receive would not have to wait.

        Raises:
            trio.BusyResourceError, trio.ClosedResourceError: as for :meth:`receive_some`.
        """
        self._require_no_receiver()
        return calls.can_be_read(self._require_open())

    def _require_no_receiver(self) -> None:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")

    async def _wait_ready(self) -> None:
        """Waits until :meth:`_is_ready` returns true. Receives nothing."""
        self._require_no_receiver()
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            memory = calls.new_buffer("char[]", 1)
            while not calls.can_be_read(self._require_open()):
                # A read of no bytes ends when there is something to read, and takes nothing. It
                # also ends when the peer writes no bytes.
                await self._read(memory, 0, memory)
        finally:
            self._receiving = False

    def _read_arrived(self, memory: Any, size: int) -> int | None:
        # As in _receive, a zero-byte message is neither data nor the end.
        while (found := self._read_now(memory, size)) == (0, 0):
            pass
        if found is None:
            return None
        code, count = found
        if code != 0:
            self._require_good_end(code)
            return 0
        return count

    async def _receive(self, memory: Any, size: int, owner: object) -> int:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            count = 0
            # A zero-byte message of a message-type pipe is neither data nor the end.
            while not count:
                code, count = await self._read(memory, size, owner)
                if code != 0:
                    self._require_good_end(code)
                    return 0
            return count
        finally:
            self._receiving = False


class Stream(_Sending, _Receiving, passing.HandlePassingEnd, abc.ByteStream):
    """A connection in both directions; see :class:`ipcpipes.abc.ByteStream`."""

    send_descriptors = passing.send_descriptors
    receive_descriptors = passing.receive_descriptors

    async def _receive_buffered(
        self, get_buffer: Callable[[], memoryview | None], max_bytes: int
    ) -> bytes | tuple[memoryview, int]:
        """Receives into the memory that ``get_buffer`` returns, or as bytes if it returns
        ``None``. ``get_buffer`` is called at once, because a read needs its memory when it begins.

        Returns:
            bytes, or the memory and the number of bytes in it. Empty bytes, or 0, are the end.

        Raises:
            What :meth:`receive_some` raises.
        """
        memory = get_buffer()
        if memory is None:
            return await self.receive_some(max_bytes)
        return memory, await self.receive_into(memory)


class SendStream(_Sending, abc.SendByteStream):
    """A connection that this end only sends on."""


class ReceiveStream(_Receiving, abc.ReceiveByteStream):
    """A connection that this end only receives from."""
