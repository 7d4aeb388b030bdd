"""Windows: connected named pipes as streams for code without an event loop.

The handles are overlapped here too: on a synchronous handle, the system makes a read and a write
wait for each other, and two ends that both send and receive would deadlock. There is no completion
port: the completion of an operation sets an event, and the C layer waits for that event or for the
event that says "closing". If the wait ends for another reason than the completion, the thread
cancels the operation and waits for its completion before it frees the memory.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from ...._ffi import ffi
from ....abc import PeerIdentity
from ....framing import Buffer
from ...common.buffered_receiving import Receiving
from ...common.deadline import Deadline
from ...common.opened import OpenNumbers
from ...common.receive_size import RECEIVE_INTERRUPTED
from ...common.sent_data import not_text
from ...common.shared_handle import SharedHandle
from .. import calls, impersonation, passing, pipe_end
from ..opened import Opened

assert sys.platform == "win32" or not TYPE_CHECKING

# The longest wait in the main thread in milliseconds, so that Python's signal handlers run: Ctrl-C
# does not end a wait of the system.
_SLICE = 100
NOTHING_CAME = "nothing was received"
NO_ROOM = "not all could be sent"


def longest_wait() -> int:
    """Returns the milliseconds that one wait of this thread may last."""
    return _SLICE if threading.current_thread() is threading.main_thread() else calls.INFINITE


class Pipe(pipe_end.PipeEnd, SharedHandle):
    """One handle of a pipe, and the events of its operations.

    Lifetime: it owns the handle in ``opened`` from the end of :meth:`__init__` to :meth:`close`,
    and closes it when no thread is inside any more. A buffer and an operation belong to the frame
    that waits for the operation.
    """

    # The result of the last read: its memory, error code, and number of bytes. The code that takes
    # the result sets this to None as the last step, so that a signal handler's exception loses
    # nothing.
    _unread: tuple[Any, int, int] | None = None

    def _prepare(self, handle: int) -> None:
        self._renew_locks()
        # The system is asked once, because a property cannot keep the handle from being closed.
        self._peer_process = (
            calls.peer_process(handle, server_end=self._server_end)
            if self._known_process is None
            else self._known_process
        )
        self._found_sizes = _buffer_sizes(handle)
        self._events = Opened()
        self._closing = calls.create_event(self._events)
        self._sent = calls.create_event(self._events)
        self._received = calls.create_event(self._events)

    def _look_up_peer(self, handle: int) -> PeerIdentity:
        if self._owner is None:
            return calls.process_identity(self._peer_process)
        with suppress(trio.BusyResourceError), self._held() as handle:
            return calls.peer_identity(handle, server_end=True)
        # Two threads are inside. The process would tell its present user, which may not be the user
        # that connected.
        return PeerIdentity(pid=self._peer_process or None)

    def _client(self) -> impersonation.Client:
        with self._held() as handle:
            return impersonation.Client(handle)

    def _buffer_sizes(self) -> tuple[int, int]:
        self._require_open()
        if isinstance(self._found_sizes, OSError):
            raise self._found_sizes
        return self._found_sizes

    def _read(self, memory: Any, size: int, deadline: Deadline | None) -> tuple[Any, int, int]:
        """Reads once into ``memory``, or returns the result of an interrupted read (``_unread``).
        The caller holds the receive lock.

        Raises:
            trio.BrokenResourceError: a signal handler raised, and raised again while the result of
                the read was determined.
            trio.ClosedResourceError, TimeoutError: as for streams.
        """
        handle = self._require_open()
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(self._receive_fault)
        if self._unread is not None:
            return self._unread
        operation = calls.new_operation()
        self._receive_fault = RECEIVE_INTERRUPTED  # first, and cleared last
        try:
            code, count = self._transfer(operation, memory, size, deadline, sending=False)
            self._unread = memory, code, count
        except BaseException:
            code = calls.abandon(handle, operation)  # its result, if it was already complete
            if code in (0, calls.ERROR_MORE_DATA):
                self._unread = memory, code, int(calls.transferred(operation))
            self._receive_fault = None
            raise
        self._receive_fault = None
        return self._unread

    def _transfer(
        self, operation: Any, memory: Any, size: int, deadline: Deadline | None, *, sending: bool
    ) -> tuple[int, int]:
        """Reads or writes, and waits for the completion. The caller holds the lock.

        Returns:
            (error code, number of bytes)
        """
        handle = self._require_open()
        what = NO_ROOM if sending else NOTHING_CAME
        event = self._sent if sending else self._received
        longest = longest_wait()
        wait = longest if deadline is None else min(longest, deadline.milliseconds(what, True))
        try:
            code = calls.transfer(
                handle, operation, memory, size, sending, event, self._closing, wait
            )
            while code == calls.WAIT_TIMEOUT:
                if deadline is not None and deadline.remaining <= 0:
                    code = calls.abandon(handle, operation)
                    if code == calls.ERROR_OPERATION_ABORTED:
                        raise deadline.error(what)
                    break
                if deadline is not None:
                    wait = min(longest, deadline.milliseconds(what, True))
                code = calls.await_operation(handle, operation, self._closing, wait)
        except BaseException:
            calls.abandon(handle, operation)
            raise
        return code, int(calls.transferred(operation))

    def _require_whole(self) -> None:
        super()._require_whole()
        if self._unread is not None:
            raise RuntimeError(
                "an interrupted receive has left data in this stream; receive it before you detach "
                "the stream"
            )

    def _release(self, number: int) -> None:
        self._events.close()
        super()._release(number)

    def _watched(self, opened: OpenNumbers) -> tuple[tuple[int, ...], Pipe | None]:
        self._require_open()
        return (self._received, self._closing), self

    def _note_empty_read(self, code: int) -> None:
        """Called with the result of a read of no bytes, which takes nothing from a stream."""

    def _write(self, memory: Any, size: int, deadline: Deadline | None) -> int:
        """Writes ``size`` bytes, 4 GiB at most. The caller holds the send lock.

        Returns:
            the number of bytes that the system has taken.
        """
        self._require_sendable()
        sent_some, self.sent_some = self.sent_some, True
        try:
            operation = calls.new_operation()
            code, count = self._transfer(operation, memory, size, deadline, sending=True)
        except BaseException:
            # A TimeoutError, or an exception of a signal handler. The system does not tell how much
            # of a cancelled write the peer has read.
            self._break("a send was interrupted half-way")
            raise
        if code != 0:
            # ERROR_NO_DATA is the result of a write after the other end has closed. A write that is
            # pending at that moment gets ERROR_BROKEN_PIPE.
            self.sent_some = sent_some or code != calls.ERROR_NO_DATA
            self._require_open()
            self._break(calls.send_fault(code))
            self._require_sendable()
        return count

    def _break(self, fault: str) -> None:
        if self._send_fault is None:
            self._send_fault = fault

    def _wake(self, number: int) -> None:
        calls.set_event(self._closing, signalled=True)

    def _give_up(self, number: int) -> None:
        if self._enclosed is not None:
            self._enclosed.close()
        # The peer can still read what was written; DisconnectNamedPipe would discard it.
        try:
            if self._owner is None:
                calls.close(number)
            else:
                self._owner.released(number)
        finally:
            self._events.close()


class _Sending(Pipe):
    def send_all(
        self, data: bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        deadline = Deadline.after(timeout)
        with ffi.from_buffer(not_text(data)) as buffer:
            try:
                del self._may_send["turn"]
            except KeyError:
                raise self._busy("sending on") from None
            try:
                self._put_memory(buffer, deadline)
            finally:
                self._may_send["turn"] = None
                if self._waiting or self._number == -1:
                    self._leave()

    def _put(self, data: Buffer, deadline: Deadline | None) -> None:
        """Sends all of ``data``. The caller holds the send lock."""
        with ffi.from_buffer(data) as buffer:
            self._put_memory(buffer, deadline)

    def _put_memory(self, buffer: Any, deadline: Deadline | None) -> None:
        self._require_sendable()
        done = 0
        while done < len(buffer):
            try:
                done += self._write(
                    buffer + done, min(len(buffer) - done, calls.LARGEST_WRITE), deadline
                )
            except BaseException:
                if done:
                    self._break(f"a send was interrupted after {done} of {len(buffer)} bytes")
                raise

    def _put_pieces(self, pieces: Sequence[Buffer], deadline: Deadline | None) -> None:
        """Sends all the pieces. The caller holds the send lock."""
        sent = 0
        try:
            for piece in pieces:
                self._put(piece, deadline)
                sent += 1
        except BaseException:
            # A signal handler may have raised right after the first piece.
            if sent or len(pieces) > 1:
                self._break("a send was interrupted half-way")
            raise


class _Receiving(Pipe, Receiving):
    def _is_ready(self) -> bool:
        """Returns whether a receive would not have to wait. The caller holds the receive lock.

        Raises:
            trio.ClosedResourceError: this end is closed.
        """
        handle = self._require_open()
        has_kept = self._came is not None or self._unread is not None
        return has_kept or self._receive_fault is not None or calls.can_be_read(handle)

    def _fetch(self, size: int, deadline: Deadline | None) -> None:
        """Puts 1 to ``size`` bytes into ``_came``, or ``b""`` at the end. The caller holds the
        receive lock, and ``_came`` is None.
        """
        while self._came is None:
            memory, code, count = self._read(
                calls.new_buffer("char[]", size), min(size, calls.LARGEST_READ), deadline
            )
            if code != 0:
                self._unread = None
                self._require_good_end(code)
                self._came = b""
            # A zero-byte message of a message-type pipe is neither data nor the end.
            elif count:
                self._came = ffi.buffer(memory, count)[:]
            self._unread = None

    def _fetch_into(self, view: memoryview, deadline: Deadline | None) -> None:
        """Receives into ``view``. Afterwards ``_came`` is the number of received bytes, or the
        bytes themselves if an interrupted read had put them elsewhere.
        """
        if self._unread is not None:
            self._fetch(len(view), deadline)
            return
        memory = ffi.from_buffer(view, require_writable=True)
        try:
            while self._came is None:
                _, code, count = self._read(memory, min(len(memory), calls.LARGEST_READ), deadline)
                if code != 0:
                    self._unread = None
                    self._require_good_end(code)
                    self._came = 0
                elif count:
                    self._came = count
                self._unread = None
        except BaseException:
            # The data must not stay in memory that belongs to the caller.
            if self._unread is not None:
                self._came = self._unread[2] or None
                self._unread = None
            raise
        finally:
            ffi.release(memory)


class Stream(_Sending, _Receiving, passing.HandlePassingEnd):
    """A connection in both directions; see :class:`ipcpipes.blocking.abc.ByteStream`."""

    carries_descriptors = False
    send_descriptors = passing.send_descriptors_blocking
    receive_descriptors = passing.receive_descriptors_blocking


class SendStream(_Sending):
    """A connection that this end only sends on."""


class ReceiveStream(_Receiving):
    """A connection that this end only receives from."""


def _buffer_sizes(handle: int) -> tuple[int, int] | OSError:
    """Returns (size for sending, size for receiving); or the error, because the system does not
    tell the sizes to an end that only writes (GetNamedPipeInfo needs GENERIC_READ).
    """
    try:
        return calls.buffer_sizes(handle)
    except OSError as error:
        calls.require_system_error(error)
        return error
