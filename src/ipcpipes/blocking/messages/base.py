"""Message channels without an event loop: the part that is the same over streams and packets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import trio

from ..._os import blocking as _os
from ..._os.common.deadline import Deadline
from ..._os.common.opened import OpenNumbers
from ..._os.common.receive_size import writable_bytes
from ..._os.handles.pending import PendingHandles
from ...abc import HasFileno
from ...abc.uncopied import Uncopied
from ...errors import FramingError, NotSupported
from ...framing import Buffer, Framing
from ...framing.outgoing import flat, flat_all
from ...messages.core import MOST_MESSAGES, NO_DESCRIPTORS, ChannelCore
from .. import abc
from .foreign import ForeignStream

ResultT = TypeVar("ResultT")


class Channel(ChannelCore, Uncopied, abc.MessageChannel):
    """The base of channels over streams and over packets. One thread at a time sends, and one
    receives.

    Lifetime: it owns the carrier, and closes it. A thread that sends or receives holds the
    carrier's lock meanwhile (see :class:`SendReceiveLocks`), so that an operation takes only one
    lock.
    """

    _half_closeable = abc.HalfCloseableMessageChannel
    _quick_request = -1  # the largest message that send() sends in few steps and cannot refuse

    def __init__(
        self,
        carrier: _os.Stream | _os.Packets | ForeignStream,
        max_size: int,
        framing: Framing | None,
        max_descriptors: int,
    ) -> None:
        super().__init__(carrier, max_size, framing, max_descriptors)
        if self._pending is not None:
            # The descriptors are closed with the connection, when no thread is inside.
            self._carrier._enclosed = self._pending

    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        run = getattr(self._connection, "run_as_client", None)
        if run is None:
            raise NotSupported("this channel is not over a connection of ipcpipes")
        result: ResultT = run(fn, *args)
        return result

    def send(self, value: Buffer, *, timeout: float | None = None) -> None:
        deadline = None if timeout is None else Deadline.after(timeout)
        self._send([flat(value)], deadline)

    def send_many(self, values: Sequence[Buffer], *, timeout: float | None = None) -> None:
        deadline = None if timeout is None else Deadline.after(timeout)
        self._send(flat_all(values), deadline)

    def _send(self, messages: list[Buffer], deadline: Deadline | None) -> None:
        self._in_send_turn(deadline, self._transmit, self._wire(self._checked(messages)))

    def send_descriptors(
        self,
        value: Buffer,
        descriptors: Sequence[int | HasFileno],
        *,
        timeout: float | None = None,
    ) -> None:
        deadline = None if timeout is None else Deadline.after(timeout)
        messages = self._checked([flat(value)])
        if self._handles is not None:
            self._in_send_turn(deadline, self._transmit_with_handles, messages, descriptors)
        else:
            self._require_carrying()
            self._in_send_turn(deadline, self._transmit, self._wire(messages), descriptors)

    def _transmit_with_handles(
        self,
        deadline: Deadline | None,
        messages: Sequence[Buffer],
        descriptors: Sequence[int | HasFileno],
    ) -> None:
        assert self._handles is not None
        with self._handles.giving(descriptors) as header:
            self._transmit(deadline, self._wire(messages, header))

    def _in_send_turn(
        self, deadline: Deadline | None, action: Callable[..., None], *arguments: object
    ) -> None:
        carrier = self._carrier
        while True:
            try:
                del carrier._may_send["turn"]
                break
            except KeyError:
                carrier._queue(deadline)
        try:
            action(deadline, *arguments)
        finally:
            carrier._may_send["turn"] = None
            if carrier._waiting or carrier._number == -1:
                carrier._leave()

    def transact(self, value: Buffer, *, timeout: float | None = None) -> bytes:
        deadline = None if timeout is None else Deadline.after(timeout)
        request = flat(value)
        carrier = self._carrier
        try:
            del carrier._may_receive["turn"]
        except KeyError:
            raise carrier._busy("receiving from") from None
        try:
            return self._transact(request, deadline)
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def _transact(self, request: Buffer, deadline: Deadline | None) -> bytes:
        if self._receive_fault is not None:
            self._raise_fault()
        wire = None
        if deadline is not None or type(request) is not bytes or len(request) > self._quick_request:
            wire = self._wire(self._checked([request]))  # before the fault: a framing can refuse it
        # The fault is set first and cleared last: if a signal handler raises in between, it is not
        # known whether a reply will come.
        self._receive_fault = "a transact was interrupted, and its reply may still come"
        try:
            if wire is None:
                self.send(request)
            else:
                self._in_send_turn(deadline, self._transmit, wire)
        except (trio.BrokenResourceError, trio.ClosedResourceError, FramingError):
            self._receive_fault = None
            raise
        except TimeoutError:
            if deadline is not None and deadline.has_raised:
                self._receive_fault = None
            raise
        self._owed += 1
        self._receive_fault = None
        while True:
            message: bytes | None = None if self._arrived else self._fill_once(1, deadline)
            if message is None:
                if not self._arrived:
                    continue
                if self._pending is None:
                    message = self._arrived[0]
                else:
                    self._pending.close_first(1)
                    message, _ = self._arrived[0]
                self._owed -= 1
                del self._arrived[0]  # as in receive()
            else:
                self._owed -= 1
            if self._owed == 0:
                return message

    def receive(self, *, timeout: float | None = None) -> bytes:
        deadline = None if timeout is None else Deadline.after(timeout)
        carrier = self._carrier
        try:
            del carrier._may_receive["turn"]
        except KeyError:
            raise carrier._busy("receiving from") from None
        try:
            return self._receive_next(deadline)
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def _receive_next(self, deadline: Deadline | None) -> bytes:
        """Returns the next message. The caller has the turn to receive.

        From the last step to the caller there is no step at which a signal handler can raise
        (Python 3.11 and later).
        """
        if self._owed:
            self._discard_owed()
        if self._arrived:
            self._require_open()
        while not self._arrived:
            message = self._fill_once(1, deadline)
            if self._owed:
                if message is None:
                    self._discard_owed()
                else:
                    self._owed -= 1
            elif message is not None:
                return message
        oldest: bytes
        if self._pending is None:
            oldest = self._arrived[0]
        else:
            self._pending.close_first(1)
            oldest, _ = self._arrived[0]
        # popleft() is not used: after a call the interpreter runs signal handlers, and an
        # exception would lose the message.
        del self._arrived[0]
        return oldest

    def receive_many(self, *, timeout: float | None = None) -> list[bytes]:
        deadline = None if timeout is None else Deadline.after(timeout)
        return self._in_receive_turn(self._take_all, MOST_MESSAGES, deadline)

    def _take_all(self, message: bytes | None) -> list[bytes]:
        if message is not None:
            return [message]
        arrived = self._arrived
        if self._pending is None:
            messages = list(arrived)
        else:
            self._pending.close_first(len(arrived))
            messages = [message for message, _ in arrived]
        arrived *= 0  # clear() is a call, as popleft() is in receive()
        return messages

    def receive_into(self, buffer: bytearray | memoryview, *, timeout: float | None = None) -> int:
        deadline = None if timeout is None else Deadline.after(timeout)
        carrier = self._carrier
        # The view is released when the function returns. A call of release() would let a signal
        # handler run.
        memory = writable_bytes(buffer)
        try:
            del carrier._may_receive["turn"]
        except KeyError:
            memory.release()
            raise carrier._busy("receiving from") from None
        try:
            self._require_open()
            self._wait_until_arrived(deadline)
            return self._copy_first(memory)
        except BaseException:
            memory.release()  # the traceback would keep it
            raise
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def receive_descriptors(self, *, timeout: float | None = None) -> tuple[bytes, list[int]]:
        deadline = None if timeout is None else Deadline.after(timeout)
        if self._pending is None:
            raise RuntimeError(NO_DESCRIPTORS)
        return self._in_receive_turn(self._take_pair, 1, deadline)

    def _take_pair(self, _: bytes | None) -> tuple[bytes, list[int]]:
        pair: tuple[bytes, list[int]] = self._arrived[0]
        del self._arrived[0]  # as in receive()
        return pair

    def _in_receive_turn(
        self, take: Callable[[bytes | None], ResultT], limit: int, deadline: Deadline | None
    ) -> ResultT:
        """Waits until messages have arrived, and returns what ``take`` returns.

        From the last step of ``take`` to the caller there is no step at which a signal handler can
        raise (Python 3.11 and later): the interpreter does not run handlers when a function of
        Python returns to a plain call. It does when it returns to a call with ``*arguments``.

        Args:
            take: called with the only message that has arrived, or with None if the messages are in
                ``_arrived``.
        """
        carrier = self._carrier
        try:
            del carrier._may_receive["turn"]
        except KeyError:
            raise carrier._busy("receiving from") from None
        try:
            message = None
            if self._owed:
                self._discard_owed()
            if self._arrived:
                self._require_open()
            while message is None and not self._arrived:
                message = self._fill_once(limit, deadline)
                if self._owed:
                    if message is None:
                        self._discard_owed()
                    else:
                        self._owed -= 1
                        message = None
            return take(message)
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def _wait_until_arrived(self, deadline: Deadline | None) -> None:
        """Waits until a message has arrived, and keeps it in ``_arrived``. The caller has the turn
        to receive.
        """
        if self._owed:
            self._discard_owed()
        while not self._arrived:
            message = self._fill_once(1, deadline)
            # From here to the end of the loop no signal handler runs (Python 3.11 and later).
            if self._owed:
                if message is None:
                    self._discard_owed()
                else:
                    self._owed -= 1
            elif message is not None:
                self._arrived.append(message)

    def _fill_once(self, limit: int, deadline: Deadline | None) -> bytes | None:
        """Calls :meth:`_fill`, with a deadline of its own if descriptors have arrived whose message
        is incomplete.
        """
        if self._pending is None:
            return self._fill(limit, deadline)
        self._fill_in_time(self._pending, limit, deadline)
        return None

    def _fill_in_time(self, pending: PendingHandles, limit: int, deadline: Deadline | None) -> None:
        seconds = pending.time_left
        if seconds is None or (deadline is not None and deadline.remaining < seconds):
            self._fill(limit, deadline)
            return
        deadline_of_rest = Deadline(seconds)
        try:
            self._fill(limit, deadline_of_rest)
        except TimeoutError:
            if not deadline_of_rest.has_raised:
                raise
            self._receive_fault = pending.give_part_up()
            self._raise_fault()

    def _take_turn(self, taken: list[Callable[[], object]]) -> None:
        self._carrier._take_turn(taken)

    def _after_turn(self) -> None:
        self._carrier._after_turn()

    def _watched(self, opened: OpenNumbers) -> Any:
        return self._carrier._watched(opened)

    def _wake_within(self) -> float | None:
        return None if self._pending is None else self._pending.time_left

    def _is_ready(self) -> bool:
        """Returns whether :meth:`receive` would return or raise at once. What arrives stays in this
        channel. The caller has the turn to receive.

        Raises:
            trio.ClosedResourceError: the channel is closed.
        """
        self._require_open()
        deadline = Deadline(0)
        try:
            self._wait_until_arrived(deadline)
        except TimeoutError:
            if not deadline.has_raised:
                raise
            return False
        except (trio.EndOfChannel, trio.BrokenResourceError):
            pass  # receive raises it again
        return True

    def _send_eof(self) -> None:
        self._in_send_turn(None, lambda _: self._carrier._put_eof())

    def detach(self) -> int:
        """Gives the connection up, and returns its number: a descriptor, on Windows a handle.
        Afterwards this channel is closed, and the number belongs to you: the connection is still
        open, and ``connect_messages(Endpoint.from_socket(number), framing=...)`` makes a channel of
        it again, in this process or in another one that has got it (``send_descriptors``,
        ``pass_fds``). The framing must be the same, on Windows ``max_descriptors`` too.

        Nothing is lost: the channel is refused, and stays as it was, if it has something that the
        next owner would not get. A channel reads ahead, so this works if the peer waits for a reply
        after each of its messages. The next owner gets what ``detach`` of a stream says.

        Returns:
            The number. Close it, or pass it on.

        Raises:
            RuntimeError: messages or a part of a message have arrived in this channel; or the late
                reply to a ``transact`` has not.
            trio.BrokenResourceError: the channel cannot send or receive any more.
            trio.BusyResourceError: a thread is using the channel.
            trio.ClosedResourceError: the channel is closed.
            ipcpipes.NotSupported: the channel is over a stream that ipcpipes did not make; or the
                splitter of a framing of yours has no ``has_part``.
        """
        return self._detach()

    def close(self) -> None:
        self._carrier.close()

    def _require_open(self) -> object:
        return self._carrier._require_open()

    @abstractmethod
    def _transmit(
        self,
        deadline: Deadline | None,
        wire: Sequence[Buffer],
        descriptors: Sequence[int | HasFileno] | None = None,
    ) -> None:
        """Sends ``wire``, and the descriptors with it; ``wire`` is one message then. The caller
        holds the carrier's lock for sending.
        """

    @abstractmethod
    def _fill(self, limit: int, deadline: Deadline | None) -> bytes | None:
        """Waits for data. Returns the message in the data if there is exactly one. Otherwise
        returns ``None``, and the messages in the data, perhaps none yet, are in ``_arrived``. The
        caller holds the carrier's lock for receiving.

        Raises:
            What :meth:`receive` raises.
        """
