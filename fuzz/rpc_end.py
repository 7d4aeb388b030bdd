"""A session, driven as a connection drives it, with users that do anything; and its invariants."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.call_pipes import SMALL, Push
from ipcpipes.rpc.core.session import Event, Session
from ipcpipes.rpc.core.state import ConnectionState, Party
from ipcpipes.rpc.errors import CallCancelled, Fault, ProtocolError, RpcError
from ipcpipes.rpc.wire.format import HEAD, Frame, Kind, decode
from ipcpipes.rpc.wire.ndr import LARGEST_COUNT

from .drawing import Drawing, filling

_COUNTS = (1, 2, 3, 500, 3000, 40_000)
_MOST = (LARGEST_COUNT, 1, 1000, 0)
_RESULTS = (b"\xc0", b"\x01", bytes(70_000))


class End:
    """One end of a connection.

    Attributes:
        session: the session under test.
        calls: every call that a user here has waited for or served.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.calls: list[Call] = []
        self._pulls_into = session.party is Party.SERVER
        self._pending: dict[tuple[Call, int], Push] = {}
        self._allowed: Counter[tuple[int, int]] = Counter()  # octets, by call and pipe
        self._sent: Counter[tuple[int, int]] = Counter()

    @property
    def is_closed(self) -> bool:
        return self.session.failure is not None

    def receive(self, message: bytes, drawing: Drawing) -> None:
        """Does what a link does; its stream delivers the bytes of a pipe in parts."""
        is_pipe = len(message) >= HEAD.size and message[0] == Kind.PIPE
        if is_pipe and drawing.number() % 4 == 1:
            frame = decode(message)
            half = len(frame.body) // 2
            for part in (frame.body[:half], frame.body[half:]):
                if not self.is_closed:
                    head = (frame.kind, frame.flags, frame.number, frame.amount, frame.call)
                    self._receive(Frame(*head, part), drawing)
        else:
            self._receive(message, drawing)

    def _receive(self, message: bytes | Frame, drawing: Drawing) -> None:
        try:
            event, call = self.session.receive(message)
        except ProtocolError as error:
            self.close(error)
            return
        if self.session.failure is not None:
            self.close(self.session.failure)
        elif event is Event.REQUEST:
            assert call is not None
            self.calls.append(call)
        elif event is Event.SHUTDOWN:
            open_calls = self.session.calls.values()
            assert all(call.has_ended or call.over or call in open_calls for call in self.calls)
        elif event is Event.CREDIT:
            frame = message if isinstance(message, Frame) else decode(message)
            self._allowed[frame.call, frame.number] += frame.amount
        elif event is Event.ORPHANED and call is not None and drawing.number() % 2:
            call.release()  # its answer was deferred
        self.check()

    def close(self, failure: RpcError) -> None:
        """Does what a link does; afterwards each call has ended, and no user waits."""
        self.session.close(failure)
        assert self.session.state is ConnectionState.CLOSED
        for call in self.calls:
            assert call.failure is not None or call.over or call.is_answered
            with suppress(RpcError):
                while (turn := call.cursor.turn) is not None and turn[0] is self._pulls_into:
                    assert call.pull(turn[1]) is not None
        self.check()

    def check(self) -> None:
        """Checks that both ends keep to their limits, which holds at any time."""
        session = self.session
        # A server can have the same number again of orphaned calls.
        most = 2 * session.limits.calls if self._pulls_into else session.peer_calls
        assert len(session.calls) <= most
        for call in session.calls.values():
            for pipe in call.incoming.values():
                assert pipe.reader.waiting <= session.limits.credit
        for message in session.take_output():
            self._check_sent(message)
        session.sent()

    def _check_sent(self, message: bytes) -> None:
        frame = decode(message)
        if self.session.peer_max_frame:
            assert len(message) <= self.session.peer_max_frame
        if frame.kind is Kind.PIPE:
            pipe = (frame.call, frame.number)
            self._sent[pipe] += len(frame.body)
            assert self._sent[pipe] <= self.session.peer_credit + self._allowed[pipe]

    # Actions of users.

    def use(self, drawing: Drawing) -> None:
        """Does something with one of the calls, or with the connection."""
        action = drawing.number()
        if action >= 250:
            self._use_connection(drawing)
        elif self.calls:
            # Calls that are over always raise, so open ones are preferred.
            calls = [call for call in self.calls if not call.over] or self.calls
            call = calls[-1 - drawing.number() % len(calls)]
            with suppress(RpcError):  # the action may not be allowed now
                self._use_call(call, action, drawing)
        self.check()

    def _use_connection(self, drawing: Drawing) -> None:
        if drawing.number() % 2 and self.session.party is Party.SERVER:
            self.session.shut_down()
        else:
            self.session.ping()

    def _use_call(self, call: Call, action: int, drawing: Drawing) -> None:
        turn = call.cursor.turn
        if turn is None or action >= 240:
            self._end(call, drawing)
            return
        into, index = turn
        if action >= 220:
            into, index = drawing.number() % 2 == 1, drawing.number() % len(call.operation.pipes)
        if into is self._pulls_into:
            call.pull(index, drawing.one_of(_MOST))
        elif index not in call.outgoing:
            call.check_push(index, 1)
        elif action % 4 == 0 and (call, index) not in self._pending:
            call.check_push(index, None)
            call.close_pipe(index)
        else:
            self._push(call, index, action % 4 == 1, drawing)

    def _push(self, call: Call, index: int, in_place: bool, drawing: Drawing) -> None:
        """Continues a push that waited for credit, or begins a new one."""
        push = self._pending.pop((call, index), None)
        if push is None or drawing.number() % 8 == 7:  # the push that waited was cancelled
            stride = call.outgoing[index].stride
            count = drawing.one_of(_COUNTS)
            octets = memoryview(filling(count * stride))
            call.check_push(index, count)
            if len(octets) <= SMALL and call.push_small(index, octets):
                return
            push = Push(octets, count)
        while not push.done:
            if in_place:
                parts = call.push_in_place(index, push)
                if parts is None:
                    self._pending[call, index] = push
                    return
                self.check()
                self._check_sent(b"".join(parts))
            elif not call.push_some(index, push):
                self._pending[call, index] = push
                return

    def _end(self, call: Call, drawing: Drawing) -> None:
        way = drawing.number() % 4
        if self.session.party is Party.SERVER:
            if way == 3:
                call.finish(None, Fault("raised" * 20_000, code=2**32 - 1))
            else:
                call.finish(_RESULTS[way], None)
        elif way == 0:
            call.cancel()
        elif way == 1:
            call.orphan()
            call.lose(CallCancelled())
        else:
            if not call.is_answered and call.failure is None:
                call.orphan()
            call.over = True
