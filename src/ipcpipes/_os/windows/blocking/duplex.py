"""Windows: a blocking stream whose one user sends and receives at the same time, and loses nothing
when it is interrupted.
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
# A pending write is copied into kernel memory whole, so that a large one is cut.
_LARGEST_WRITE = 1 << 20
# A wait that ends with the other direction is no longer, so that closing is noticed.
_SLICE = 100  # milliseconds


class Duplex:
    """What is on its way out and what has come, of a stream that nobody else uses.

    One thread may send while another one receives. A signal handler's exception changes neither
    position: the next operation continues there, and nothing is sent twice. It closes nothing:
    the stream belongs to its owner, which calls :meth:`give_up` before.

    Attributes:
        came: what was received, in order, or how much of it, where it was given memory; nothing is
            the end.
    """

    def __init__(self, stream: streams.Stream) -> None:
        self.came: deque[bytes | int] = deque()
        self._stream = stream
        # What is being sent, which the system reads while a write is pending; how much of it was
        # written, and the write that is under way. One step from one to the next, so that no
        # exception comes in between.
        self._outgoing: tuple[Any, int, Any] = (b"", 0, None)
        self._is_given_up = False

    def receive(
        self, deadline: Deadline | None, place: Callable[[], memoryview] | None = None
    ) -> None:
        """Waits for bytes, and puts them into :attr:`came`; or into the memory that ``place``
        gives, which is asked at once: a read has to know where to.

        Raises:
            What :meth:`ipcpipes.blocking.abc.ReceiveByteStream.receive_some` raises.
        """
        stream = self._stream
        try:
            del stream._may_receive["turn"]
        except KeyError:
            raise stream._busy("receiving from") from None
        try:
            while True:
                wait = streams.longest_wait()
                if deadline is not None:
                    wait = min(wait, deadline.milliseconds("nothing was received", True))
                if self._read(stream._closing, wait, place):
                    return
                stream._require_open()
                if deadline is not None and not deadline.remaining:
                    raise deadline.error("nothing was received")
        finally:
            stream._may_receive["turn"] = None
            if stream._number == -1:
                stream._leave()

    def _read(
        self, closing: int, milliseconds: int, place: Callable[[], memoryview] | None
    ) -> bool:
        """Reads until the time is over or this event is set; whether something has come."""
        handle = self._stream._require_open()
        if place is None:
            memory = calls.new_buffer("char[]", _READ_SIZE)
        else:
            memory = ffi.from_buffer(place(), require_writable=True)
        operation = calls.new_operation()
        before = len(self.came)
        try:
            code = calls.transfer(
                handle,
                operation,
                memory,
                len(memory),
                False,
                self._stream._received,
                closing,
                milliseconds,
            )
            if code == calls.WAIT_TIMEOUT:
                code = calls.abandon(handle, operation)
            return self._take(code, operation, memory, as_bytes=place is None)
        except BaseException:
            # What a signal handler raised may have come at any step.
            code = calls.abandon(handle, operation)
            if len(self.came) == before:
                self._take(code, operation, memory, as_bytes=place is None)
            raise
        finally:
            if place is not None:
                ffi.release(memory)  # for whoever it is used by next

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
        """Takes what is to be sent next; what was before is on its way."""
        self._outgoing = (ffi.from_buffer(octets), 0, None)

    def lend(self, octets: bytes, memory: memoryview) -> None:
        """The same with memory behind it that its owner has back with :meth:`keep`."""
        # Copied at once: a write cannot be called back, and its memory has to stay as it is.
        self.load(b"".join((octets, memory)))

    def keep(self) -> None:
        """Copies what has not gone of the memory that was lent."""

    def send_now(self) -> bool:
        """Hands the system what it takes without waiting; whether that was all.

        What the system holds then counts as not sent: it is copied already, but not taken.

        Raises:
            What :meth:`ipcpipes.blocking.abc.SendByteStream.send_all` raises.
        """
        return self._send(0)

    def send_on(self, milliseconds: int) -> bool:
        """The same, once it has waited for room; for so long at the most."""
        return self._send(min(milliseconds, streams.longest_wait()))

    def send_or_receive(
        self, milliseconds: int, place: Callable[[], memoryview] | None = None
    ) -> bool:
        """The same, and what comes meanwhile is received, and ends the wait too."""
        if self._send(0):
            return True
        stream = self._stream
        try:
            del stream._may_receive["turn"]
        except KeyError:
            raise stream._busy("receiving from") from None
        try:
            # The event that says "written" ends the read.
            self._read(stream._sent, min(milliseconds, _SLICE), place)
        finally:
            stream._may_receive["turn"] = None
            if stream._number == -1:
                stream._leave()
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
            memory, position, operation = self._outgoing
            if position >= len(memory):
                return True
            stream._require_sendable()
            handle = stream._require_open()
            if operation is None:
                operation = calls.new_operation()
                # Known before it begins, so that it is found again after an exception; one that
                # has not begun has written nothing.
                self._outgoing = (memory, position, operation)
                code = calls.transfer(
                    handle,
                    operation,
                    memory + position,
                    min(len(memory) - position, _LARGEST_WRITE),
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
                self._outgoing = (memory, position, None)
                stream._require_open()
                self._require_wanted()
                if code == calls.ERROR_OPERATION_ABORTED:
                    continue  # an exception came before it had begun
                gone = "the other end has closed or died"
                stream._break(gone if code in calls.PEER_GONE else str(calls.winerror(code)))
                stream._require_sendable()
            self._outgoing = (memory, position + int(calls.transferred(operation)), None)

    def _require_wanted(self) -> None:
        """Whether it is being closed, by a thread that has the turn for a moment."""
        if self._is_given_up:
            raise trio.ClosedResourceError("this stream was closed here")

    def give_up(self) -> None:
        """Nothing more is sent; the system may not look at the memory of the rest any more."""
        stream = self._stream
        self._is_given_up = True
        try:
            del stream._may_send["turn"]
        except KeyError:
            return  # who is inside sees it closed, and gives it up
        try:
            memory, position, operation = self._outgoing
            if operation is not None and stream._number != -1:
                calls.abandon(stream._number, operation)
                self._outgoing = (memory, position, None)
        finally:
            stream._may_send["turn"] = None
            if stream._waiting or stream._number == -1:
                stream._leave()
