"""Windows: connected named pipes as trio streams.

Every handle is overlapped and bound to trio's completion port. An operation is
submitted by the C layer and awaited with ``trio.lowlevel.wait_overlapped``, which
cancels honestly: it asks the kernel, waits until the kernel has answered, and
raises ``Cancelled`` only if the operation was really given up.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from .... import abc
from ...._ffi import ffi
from ....abc import PeerIdentity
from ....endpoint import Endpoint
from ....errors import NotSupported
from ...common.own_thread import ResultT, require_accepted, run_as
from ...common.receive_size import receive_size, writable_bytes
from .. import calls, impersonation, passing
from ..opened import Opened

assert sys.platform == "win32" or not TYPE_CHECKING

# A pending write is copied into kernel memory whole, so that a large one is cut.
_LARGEST_WRITE = 1 << 20
_LARGEST_READ = 1 << 30

# Memory that the kernel may still write to after the event loop was torn down under us.
_abandoned: list[object] = []


class AcceptingListener(Protocol):
    """Who counts a stream: the listener that accepted it."""

    def released(self) -> None:
        """The stream is about to close its handle."""

    def released_elsewhere(self, handle: int) -> None:
        """The same, from a finalizer: in any thread, between any two steps; and close it."""


class Pipe(abc.Connection):
    """One handle of a pipe.

    Lifetime: it owns the handle in ``opened`` from the end of :meth:`__init__` to :meth:`aclose`;
    ``_handle`` is -1 afterwards. Buffers and operations belong to the frame that awaits them.

    Attributes:
        sent_some: set when the system has begun to write something, which the peer may have read.
    """

    sent_some = False

    def __init__(
        self,
        opened: Opened,
        endpoint: Endpoint,
        address: str,
        *,
        server_end: bool,
        owner: AcceptingListener | None = None,
        process: int | None = None,
    ) -> None:
        self._handle = -1
        self._endpoint = endpoint
        self._address = address
        self._server_end = server_end
        # Known from elsewhere; the system names whoever opened the pipe.
        self._known_process = process
        self._peer: PeerIdentity | None = None
        self._owner = owner
        self._pending = 0
        self._doomed = -1
        self._sending = False
        self._receiving = False
        self._send_fault: str | None = None
        self._register(opened.number)
        # Last: until then our caller closes what is opened.
        (self._handle,) = opened.handed_over()

    def _register(self, handle: int) -> None:
        try:
            trio.lowlevel.register_with_iocp(handle)
        except OSError as error:
            # ERROR_INVALID_PARAMETER; a pipe's end has one completion port in its whole life.
            if error.winerror != 87 or self._endpoint.kind != "inherited":
                raise
            raise NotSupported(
                f"{self._endpoint}: the process that this handle comes from has used it with its "
                "event loop, and nobody else can; hand over an end that was not used"
            ) from None

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return self._address

    @property
    def peer(self) -> PeerIdentity:
        if self._peer is not None:
            return self._peer
        handle = self._require_open()
        if self._known_process is not None:
            found = calls.process_identity(self._known_process)
        else:
            found = calls.peer_identity(handle, server_end=self._server_end)
        if found.sid is not None:  # or else it may be known later
            self._peer = found
        return found

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        handle = self._require_open()
        require_accepted(self._owner)
        return await run_as(impersonation.Client(handle), fn, args)

    @property
    def send_buffer_size(self) -> int:
        return calls.buffer_sizes(self._require_open())[0]

    @property
    def receive_buffer_size(self) -> int:
        return calls.buffer_sizes(self._require_open())[1]

    def _require_open(self) -> int:
        if self._handle == -1:
            raise trio.ClosedResourceError("this stream was closed here")
        return self._handle

    async def finish(self, operation: Any, owner: object) -> int:
        """Waits for a submitted operation; its error code, 0 for success.

        Args:
            owner: what holds the operation's memory, and holds it in place, as long as it lives.
        """
        self._pending += 1
        try:
            await trio.lowlevel.wait_overlapped(self._handle, calls.operation_address(operation))
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
        handle, self._handle = self._handle, -1
        if handle == -1:
            return
        try:
            # Before the handle goes: the listener makes the next instance, so that the name
            # does not vanish with the last one.
            if self._owner is not None:
                self._owner.released()
        finally:
            # What was written remains readable for the peer; DisconnectNamedPipe would
            # discard it.
            if self._pending == 0:
                calls.close(handle)
            else:
                # trio may still have to cancel what is under way, by this handle: whoever
                # waits last closes it.
                self._doomed = handle
                calls.cancel(handle)

    async def aclose(self) -> None:
        self._close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        if getattr(self, "_handle", -1) == -1:
            return
        text = f"unclosed {self!r}"
        if self._owner is None:
            calls.close(self._handle)
        else:
            self._owner.released_elsewhere(self._handle)
        # Last: with warnings as errors it raises.
        warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = "closed" if self._handle == -1 else f"handle {self._handle}"
        return f"<ipcpipes {type(self).__name__} {self.address!r} {state}>"


class _Sending(Pipe):
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._require_sendable()
            view = memoryview(data)
            with ffi.from_buffer(view) as buffer:
                length = len(buffer)
                if length == 0:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                done = 0
                try:
                    while done < length:
                        done += await self._send_part(buffer + done, length - done, view)
                except BaseException:
                    # Cancelled, mostly; a KeyboardInterrupt has the same effect. The kernel does
                    # not tell how much of a cancelled write the peer has read.
                    if self._send_fault is None:
                        self._send_fault = f"a send_all of {length} bytes was cancelled half-way"
                    raise
        finally:
            self._sending = False

    def send_now(self, data: bytes | memoryview) -> int:
        """What can be sent without waiting: nothing, because the end of an overlapped operation
        comes by the completion port, also where it was over at once.
        """
        return 0

    async def send_some(self, head: bytes, data: memoryview, start: int) -> int:
        """What can be sent so that it may be cancelled at any time: nothing, because a write that
        was cancelled can have gone out all the same.
        """
        return 0

    async def _send_part(self, start: Any, length: int, owner: memoryview) -> int:
        operation = calls.new_operation()
        size = min(length, _LARGEST_WRITE)
        code = calls.begin_write(self._require_open(), operation, start, size)
        if code == 0:
            self.sent_some = True
            code = await self.finish(operation, owner)
        if code != 0:
            self._require_open()
            reason = "the other end has closed or died"
            self._send_fault = reason if code in calls.PEER_GONE else str(calls.winerror(code))
            raise trio.BrokenResourceError(self._send_fault)
        return int(calls.transferred(operation))

    def _require_sendable(self) -> None:
        self._require_open()
        if self._send_fault is not None:
            raise trio.BrokenResourceError(self._send_fault)

    async def wait_send_all_might_not_block(self) -> None:
        """A checkpoint only: Windows does not tell when a pipe has room again."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._require_sendable()
        await trio.lowlevel.checkpoint()


class _Receiving(Pipe):
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        size = receive_size(max_bytes)
        buffer = calls.new_buffer("char[]", size)
        count = await self._receive(buffer, size, buffer)
        return ffi.buffer(buffer, count)[:] if count > 0 else b""

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        view = writable_bytes(buffer)
        with ffi.from_buffer(view) as memory:
            return await self._receive(memory, min(len(memory), _LARGEST_READ), view)

    async def _receive(self, memory: Any, size: int, owner: object) -> int:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            # A zero-byte message of a message-type pipe is no data, and not the end either.
            while (count := await self._read(memory, size, owner)) == 0:
                pass
            return max(count, 0)
        finally:
            self._receiving = False

    async def _read(self, memory: Any, size: int, owner: object) -> int:
        """How many bytes have come; -1 for the end of the stream."""
        operation = calls.new_operation()
        code = calls.begin_read(self._require_open(), operation, memory, size)
        if code == 0:
            code = await self.finish(operation, owner)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        if code == 0:
            return int(calls.transferred(operation))
        self._require_open()
        if code in calls.PEER_GONE:
            return -1
        raise trio.BrokenResourceError(str(calls.winerror(code)))


class Stream(_Sending, _Receiving, abc.ByteStream):
    """A connection in both directions; see :class:`ipcpipes.abc.ByteStream`."""

    send_descriptors = passing.send_descriptors
    receive_descriptors = passing.receive_descriptors

    def handles(self) -> passing.Handles:
        """How handles go to the process at the other end, and come from it."""
        return passing.Handles(self)

    async def receive_buffered(
        self, place: Callable[[], memoryview | None], max_bytes: int
    ) -> bytes | tuple[memoryview, int]:
        """Receives into the memory that ``place`` gives, or as bytes where it gives none. It is
        asked at once: a read has to know where to.

        Returns:
            Bytes, or the memory and how much has come into it; nothing at the end.

        Raises:
            What :meth:`receive_some` raises.
        """
        memory = place()
        if memory is None:
            return await self.receive_some(max_bytes)
        return memory, await self.receive_into(memory)


class SendStream(_Sending, abc.SendByteStream):
    """A connection that this end only sends on."""


class ReceiveStream(_Receiving, abc.ReceiveByteStream):
    """A connection that this end only receives from."""
