"""Windows: a blocking stream with one user that sends and receives at the same time, and loses
nothing when it is interrupted.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from ...._ffi import ffi
from ...common.deadline import Deadline
from .. import calls
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING

_READ_SIZE = 64 * 1024
# The longest wait for both directions in milliseconds, so that the thread notices the closing: the
# event that normally says "closing" says "written" in such a wait.
_SLICE = 100


class Duplex:
    """The outgoing and the received data of a stream that has no other user.

    One thread may send while another one receives. A signal handler's exception changes neither
    position: the next operation continues there, and nothing is sent twice. This object closes
    nothing: the stream belongs to its owner, which calls :meth:`give_up` first.

    Attributes:
        came: the received data in order, as bytes; or the number of received bytes, if the caller
            has provided the memory. Empty bytes are the end of the stream.
        outgoing: the data to send, which the system reads while a write is pending; the number of
            bytes that were written; and the pending write. One statement changes all three, so that
            no exception can come in between.
    """

    def __init__(self, stream: streams.Stream) -> None:
        self.came: deque[bytes | int] = deque()
        self._stream = stream
        self.outgoing: tuple[Any, int, Any] = (b"", 0, None)
        self._is_given_up = False

    def receive(
        self, deadline: Deadline | None, get_buffer: Callable[[], memoryview] | None = None
    ) -> None:
        """Waits for bytes and appends them to :attr:`came`.

        Args:
            get_buffer: returns the memory to receive into. It is called at once, because a read
                needs its memory when it begins.

        Raises:
            What :meth:`ipcpipes.blocking.abc.ReceiveByteStream.receive_some` raises.
        """
        stream = self._stream
        while True:
            wait = streams.longest_wait()
            if deadline is not None:
                wait = min(wait, deadline.milliseconds(streams.NOTHING_CAME, True))
            if self._read(stream._closing, wait, get_buffer):
                return
            stream._require_open()
            if deadline is not None and not deadline.remaining:
                raise deadline.error(streams.NOTHING_CAME)

    def _read(
        self, event: int, milliseconds: int, get_buffer: Callable[[], memoryview] | None
    ) -> bool:
        """Reads once. Gives up after ``milliseconds``, or when ``event`` is set.

        Returns:
            whether bytes were received, or the end of the stream.
        """
        stream = self._stream
        try:
            del stream._may_receive["turn"]
        except KeyError:
            raise stream._busy("receiving from") from None
        try:
            handle = stream._require_open()
            if get_buffer is None:
                memory = calls.new_buffer("char[]", _READ_SIZE)
            else:
                memory = ffi.from_buffer(get_buffer(), require_writable=True)
            operation = calls.new_operation()
            before = len(self.came)
            try:
                code = calls.transfer(
                    handle,
                    operation,
                    memory,
                    len(memory),
                    False,
                    stream._received,
                    event,
                    milliseconds,
                )
                if code == calls.WAIT_TIMEOUT:
                    code = calls.abandon(handle, operation)
                return self._take(code, operation, memory, as_bytes=get_buffer is None)
            except BaseException:
                # A signal handler may have raised at any step.
                code = calls.abandon(handle, operation)
                if len(self.came) == before:
                    self._take(code, operation, memory, as_bytes=get_buffer is None)
                raise
            finally:
                if get_buffer is not None:
                    ffi.release(memory)  # so that its owner can resize it
        finally:
            stream._may_receive["turn"] = None
            if stream._number == -1:
                stream._leave()

    def _take(self, code: int, operation: Any, memory: Any, *, as_bytes: bool) -> bool:
        if code == calls.ERROR_OPERATION_ABORTED:
            return False
        if code != 0:
            self._stream._require_good_end(code)
            self.came.append(b"")
            return True
        count = int(calls.transferred(operation))
        if count:
            self.came.append(ffi.buffer(memory, count)[:] if as_bytes else count)
        return bool(count)

    def load(self, octets: bytes) -> None:
        """Sets the data to send next. The data before it has been sent."""
        self.outgoing = self.prepared(octets)

    def prepared(self, octets: bytes) -> tuple[Any, int, Any]:
        """Returns what has to be assigned to :attr:`outgoing`, to send this data next. The data
        before it has been sent.
        """
        return ffi.from_buffer(octets), 0, None

    def lend(self, octets: bytes, memory: memoryview) -> None:
        """Sets the data to send next: ``octets``, and then ``memory``, which its owner may change
        again after :meth:`keep`.
        """
        # Copied at once: a pending write cannot be undone, and its memory must not change.
        self.load(b"".join((octets, memory)))

    def keep(self) -> None:
        """Copies the unsent rest of the memory that was lent."""

    def send_now(self) -> bool:
        """Sends what the system accepts without waiting.

        Bytes of a pending write count as unsent: the system has copied them, but not taken them.

        Returns:
            whether everything is sent.

        Raises:
            What :meth:`ipcpipes.blocking.abc.SendByteStream.send_all` raises.
        """
        return self._send(0)

    def send_on(self, milliseconds: int) -> bool:
        """Does the same as :meth:`send_now`, and waits for room, at most this long."""
        return self._send(min(milliseconds, streams.longest_wait()))

    def send_or_receive(
        self, milliseconds: int, get_buffer: Callable[[], memoryview] | None = None
    ) -> bool:
        """Does the same as :meth:`send_on`, and receives meanwhile, as :meth:`receive` does.
        Received bytes end the wait.
        """
        if self._send(0):
            return True
        # The event that says "written" ends the read.
        self._read(self._stream._sent, min(milliseconds, _SLICE), get_buffer)
        return self._send(0)

    def _send(self, milliseconds: int) -> bool:
        stream = self._stream
        try:
            del stream._may_send["turn"]
        except KeyError:
            self._require_wanted()
            raise stream._busy("sending on") from None
        try:
            self._require_wanted()
            return self._write(milliseconds)
        finally:
            stream._may_send["turn"] = None
            if stream._waiting or stream._number == -1:
                stream._leave()

    def _write(self, milliseconds: int) -> bool:
        stream = self._stream
        while True:
            memory, position, operation = self.outgoing
            if position >= len(memory):
                return True
            stream._require_sendable()
            handle = stream._require_open()
            if operation is None:
                operation = calls.new_operation()
                # Stored before it begins, so that it is found after an exception. An operation that
                # did not begin has written nothing.
                self.outgoing = (memory, position, operation)
                code = calls.transfer(
                    handle,
                    operation,
                    memory + position,
                    min(len(memory) - position, calls.LARGEST_WRITE),
                    True,
                    stream._sent,
                    stream._closing,
                    milliseconds,
                )
            else:
                code = calls.await_operation(handle, operation, stream._closing, milliseconds)
            if code == calls.WAIT_TIMEOUT:
                return False
            if code != 0:
                self.outgoing = (memory, position, None)
                stream._require_open()
                self._require_wanted()
                if code == calls.ERROR_OPERATION_ABORTED:
                    continue  # an exception came before the operation began
                stream._break(calls.send_fault(code))
                stream._require_sendable()
            self.outgoing = (memory, position + int(calls.transferred(operation)), None)

    def _require_wanted(self) -> None:
        """Raises:
        trio.ClosedResourceError: :meth:`give_up` was called, by a thread that may hold the lock for
            a moment.
        """
        if self._is_given_up:
            raise trio.ClosedResourceError("this stream was closed here")

    def give_up(self) -> None:
        """Cancels the pending write, so that the system does not read its memory any more. Nothing
        more is sent.
        """
        stream = self._stream
        self._is_given_up = True
        try:
            del stream._may_send["turn"]
        except KeyError:
            return  # the sending thread finds the stream closed, and cancels the write itself
        try:
            memory, position, operation = self.outgoing
            if operation is not None and stream._number != -1:
                calls.abandon(stream._number, operation)
                self.outgoing = (memory, position, None)
        finally:
            stream._may_send["turn"] = None
            if stream._waiting or stream._number == -1:
                stream._leave()
