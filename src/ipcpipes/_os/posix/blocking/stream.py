"""POSIX: connected Unix domain sockets as streams for code without an event loop.

The descriptors are in blocking mode, so that an operation is one system call. os.read and the C
layer's send release the GIL while they wait, and return for Python's signal handlers. Only an
operation with a timeout has to call poll(2) first.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import trio

from ...._ffi import ffi
from ....abc import MOST_DESCRIPTORS, HasFileno
from ....framing import Buffer
from ....framing.outgoing import READ_SIZE
from ...common.buffered_receiving import Receiving
from ...common.deadline import Deadline
from ...common.opened import OpenNumbers
from ...common.receive_size import RECEIVE_INTERRUPTED, receive_size
from ...common.sent_data import not_text
from ...common.shared_handle import SharedHandle
from ...handles.attached import AttachedDescriptors
from .. import calls, passing, socket_end

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
_INTERRUPTED = -errno.EINTR
# The beginning of the error text, for an event that does not occur in time.
TOO_LATE = {select.POLLIN: "nothing was received", select.POLLOUT: "not all could be sent"}

# Looked up once: they are called for every message.
_read = os.read
_readv = os.readv
_send_message = calls.send_message
_send_rest = calls.send_rest


class Socket(socket_end.SocketEnd, SharedHandle):
    """One connected descriptor, in blocking mode. It is closed after :meth:`close`, as soon as no
    thread is inside.
    """

    def _prepare(self, fd: int) -> None:
        self._renew_locks()
        # The descriptor while something can be sent, otherwise -1, so that a send has only one
        # attribute to check.
        self._send_number = fd
        self._position = ffi.new(calls.new_position)
        self._configure(fd)

    def _configure(self, fd: int) -> None:
        # The system is asked once, because a property cannot keep the descriptor from being closed.
        self._found_sizes = calls.buffer_sizes(fd)
        os.set_blocking(fd, True)
        if self._shut_half is not None:
            calls.close_half(fd, self._shut_half)

    def _buffer_sizes(self) -> tuple[int, int]:
        self._require_open()
        return self._found_sizes

    def _wait(self, event: int, deadline: Deadline | None) -> None:
        """Waits until something can be received or sent. A receive waits before its first attempt,
        and a send after it.
        """
        poll = select.poll()
        poll.register(self._require_open(), event)
        milliseconds = None
        if deadline is not None:
            milliseconds = deadline.milliseconds(TOO_LATE[event], first=event == select.POLLIN)
        if not poll.poll(milliseconds) and deadline is not None:
            raise deadline.error(TOO_LATE[event])

    def _watched(self, opened: OpenNumbers) -> tuple[int, ...]:
        return (self._require_open(),)

    def _wait_for_room(self, code: int, deadline: Deadline | None) -> None:
        """Waits until a send that has ended with ``code`` can continue, or raises."""
        if code == _AGAIN:
            self._wait(select.POLLOUT, deadline)
        elif code != _INTERRUPTED:
            self._raise_unsendable(-code)

    def _raise_unsendable(self, code: int) -> None:
        self._require_open()
        if self._eof_sent:
            raise trio.ClosedResourceError("nothing can be sent after send_eof")
        if self._send_fault is None:
            self._break(calls.send_fault(code))
        raise trio.BrokenResourceError(self._send_fault)

    def _require_sendable(self) -> None:
        if self._send_number == -1:
            self._raise_unsendable(errno.EPIPE)

    def _break(self, fault: str) -> None:
        self._send_number = -1
        self._position[0] = 0
        if self._send_fault is None:
            self._send_fault = fault

    def _put_eof(self) -> None:
        number = self._require_open()
        if self._eof_sent:
            return
        if self._send_fault is not None:
            raise trio.BrokenResourceError(self._send_fault)
        self._eof_sent = True
        self._send_number = -1
        calls.close_half(number, True)

    def _hide(self) -> None:
        self._send_number = -1

    def _wake(self, number: int) -> None:
        calls.close_half(number, True)
        calls.close_half(number, False)

    def _give_up(self, number: int) -> None:
        os.close(number)
        if self._enclosed is not None:
            self._enclosed.close()
        if self._owner is not None:
            self._owner.released()


class _Sending(Socket):
    def send_all(
        self, data: bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        deadline = None if timeout is None else Deadline.after(timeout)
        # cffi takes bytes as they are; anything else is borrowed, not copied.
        buffer: Any = data if type(data) is bytes else ffi.from_buffer(not_text(data))
        try:
            try:
                del self._may_send["turn"]
            except KeyError:
                raise self._busy("sending on") from None
            try:
                self._put(buffer, deadline)
            finally:
                self._may_send["turn"] = None
                if self._waiting or self._number == -1:
                    self._leave()
        finally:
            if buffer is not data:
                ffi.release(buffer)

    def _put(self, data: Any, deadline: Deadline | None) -> None:
        """Sends all of ``data``. The caller holds the send lock."""
        try:
            code = _send_rest(self._send_number, data, len(data), self._position, deadline is None)
            if code:
                self._put_rest(data, deadline, code)
        except BaseException:
            self._break_if_part_was_sent()
            raise

    def _put_message(self, prefix: tuple[int, bool], data: bytes) -> None:
        """Sends all of ``data`` after its length. The caller holds the send lock.

        Args:
            prefix: how many bytes the length takes, and whether it is big-endian.
        """
        width, big_endian = prefix
        try:
            while code := _send_message(
                self._send_number, data, len(data), width, big_endian, self._position, True
            ):
                self._wait_for_room(code, None)
        except BaseException:
            self._break_if_part_was_sent()
            raise

    def _break_if_part_was_sent(self) -> None:
        """Called after a TimeoutError, or a signal handler's exception. A handler's exception can
        be raised right after the call that sends, and then only the C layer knows how much was
        sent.
        """
        if self._position[0]:
            self._send_number = -1  # first: another signal handler can raise in a call
            self._break(f"a send was interrupted after {self._position[0]} bytes")

    def _put_pieces(self, pieces: Sequence[Buffer], deadline: Deadline | None) -> None:
        """Sends all pieces. The caller holds the send lock."""
        sent = 0
        try:
            for piece in pieces:
                if type(piece) is bytes:
                    self._put(piece, deadline)
                else:
                    with ffi.from_buffer(piece) as buffer:
                        self._put(buffer, deadline)
                sent += 1
        except BaseException:
            # A signal handler may have raised, perhaps a TimeoutError, right after the first piece.
            if sent or (len(pieces) > 1 and (deadline is None or not deadline.has_raised)):
                self._send_number = -1
                self._break("a send was interrupted half-way")
            raise

    def _put_rest(self, data: Any, deadline: Deadline | None, code: int) -> None:
        while code:
            self._wait_for_room(code, deadline)
            code = _send_rest(self._send_number, data, len(data), self._position, deadline is None)


class _Receiving(Socket, Receiving):
    def _is_ready(self) -> bool:
        """Returns whether a receive would not have to wait. The caller holds the receive lock.

        Raises:
            trio.ClosedResourceError: this end is closed.
        """
        number = self._require_open()
        has_kept = self._came is not None or self._receive_fault is not None
        return has_kept or calls.can_be_read(number)

    def _fetch(self, size: int, deadline: Deadline | None) -> None:
        """Puts 1 to ``size`` bytes into ``_came``, or ``b""`` at the end. The caller holds the
        receive lock, and ``_came`` is None.

        If a signal handler raises, either nothing was received and ``_came`` is None, or the bytes
        are in ``_came``.
        """
        if self._receive_fault is not None:
            self._raise_fault()
        if deadline is not None:
            self._wait(select.POLLIN, deadline)
        try:
            # The interpreter runs signal handlers after a call. Here the step that begins the loop
            # calls read(2), and the next steps store the result.
            for came in map(_read, (self._number,), (size,)):
                self._came = came
                break
        except OSError as error:
            self._check_end(error)
            self._came = b""
        if not self._came:
            self._require_open()

    def _fetch_into(self, view: memoryview, deadline: Deadline | None) -> None:
        """Does the same as :meth:`_fetch`, but receives into ``view``. Afterwards ``_came`` is the
        number of received bytes.
        """
        if self._receive_fault is not None:
            self._raise_fault()
        if deadline is not None:
            self._wait(select.POLLIN, deadline)
        try:
            for count in map(_readv, (self._number,), ((view,),)):
                self._came = count
                break
        except OSError as error:
            self._check_end(error)
            self._came = 0
        if not self._came:
            self._require_open()

    def _raise_fault(self) -> None:
        self._require_open()
        raise trio.BrokenResourceError(self._receive_fault)


class Stream(_Sending, _Receiving):
    """A connection in both directions; see :class:`ipcpipes.blocking.abc.ByteStream`."""

    carries_descriptors = True

    def _prepare(self, fd: int) -> None:
        super()._prepare(fd)
        # Each step of this iterator calls read(2). An iterator that is there already costs less
        # than a call of _fetch. As there, no signal handler runs between the reading and the
        # assignment in "for came in stream._reads: stream._came = came". The caller holds the
        # receive lock, and does what _fetch does besides: it first checks _receive_fault and
        # _number, passes an OSError to _check_end, and calls _require_open if no bytes have come.
        self._reads = map(_read, repeat(fd), repeat(READ_SIZE))

    def send_descriptors(
        self,
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

    def _put_descriptors(
        self,
        data: Any,
        outgoing: passing.OutgoingDescriptors,
        deadline: Deadline | None,
    ) -> None:
        """Sends all of ``data``, and the descriptors with its first byte. The caller holds the send
        lock.
        """
        wait = deadline is None
        try:
            while True:
                self._require_sendable()
                code = outgoing.send(self._send_number, data, self._position, wait=wait)
                if self._position[0]:
                    self._put_rest(data, deadline, code)
                    return
                if not code:
                    return
                self._wait_for_room(code, deadline)
        except BaseException:
            self._break_if_part_was_sent()
            raise

    def _put_pieces_with(
        self,
        pieces: Sequence[Buffer],
        descriptors: Sequence[int | HasFileno],
        deadline: Deadline | None,
    ) -> None:
        """Sends all pieces, and the descriptors with the first byte. The caller holds the send
        lock.
        """
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
        self,
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
                    came = self._kept_data()
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

    def _get_descriptors(
        self, incoming: passing.IncomingDescriptors, deadline: Deadline | None
    ) -> bytes:
        """Receives 1 byte or more, and the descriptors with them into ``incoming``. Returns the
        bytes, ``b""`` at the end. The caller holds the receive lock.

        Descriptors cannot be kept for the next receive, so a signal handler's exception breaks the
        stream once something has come: ``_receive_fault`` is already set when this returns, and the
        caller clears it as the last step.
        """
        if self._receive_fault is not None:
            self._raise_fault()
        if deadline is not None:
            self._wait(select.POLLIN, deadline)
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

    def _get_enclosed(self, attached: AttachedDescriptors, deadline: Deadline | None) -> bytes:
        """Does the same as :meth:`_get_descriptors`, for a channel. Puts the descriptors into
        ``attached``. The channel clears ``_receive_fault`` when it has the messages.
        """
        incoming = passing.IncomingDescriptors(receive_size(None), attached.most)
        try:
            data = self._get_descriptors(incoming, deadline)
            attached.came(incoming.take())
        except BaseException:
            incoming.close()
            raise
        return data

    def send_eof(self) -> None:
        """Ends the sending direction; receiving remains possible. Idempotent.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another thread is sending.
            trio.BrokenResourceError: an earlier ``send_all`` was interrupted half-way; with the
                end of the stream, the part would look complete.
        """
        self._locked(self._may_send, "sending on", self._put_eof)


class SendStream(_Sending):
    """A connection that this end only sends on."""

    _shut_half = False


class ReceiveStream(_Receiving):
    """A connection that this end only receives from."""

    _shut_half = True
