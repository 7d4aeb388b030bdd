"""Sending in the blocking driver: lent memory, the sending thread, and silent peers."""

from __future__ import annotations

import array
import gc
import sys
import threading
import tracemalloc
import weakref
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc._trio.transport import joined
from ipcpipes.rpc.blocking import serving
from ipcpipes.rpc.core.session import Session
from ipcpipes.rpc.core.state import ConnectionState, Party
from ipcpipes.rpc.wire import frames
from ipcpipes.rpc.wire.format import MAX_FRAME, Frame, Kind, Limits
from ipcpipes.rpc.wire.frames import FrameReader
from ipcpipes.testing import unique_endpoint

from .rpc_blocking_pairs import Calls, Gate, Manager, served
from .threads import Worker, at_most, receive_all, stream_pair


class Silent:
    """A server that answers the bind, and then reads nothing until :meth:`look`."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.reader = FrameReader(MAX_FRAME)

    def bind(self) -> None:
        definition = Calls._rpc_definition
        session = Session(Party.SERVER, {str(definition.uuid): definition}, Limits())
        while session.state is ConnectionState.UNBOUND:
            for frame in self.reader.feed(self.stream.receive_some()):
                session.receive(frame)
        self.stream.send_all(joined(session.take_output()))

    def look(self) -> list[Frame]:
        """The frames that have come, up to the end of the connection."""
        return self.reader.feed(receive_all(self.stream))


@pytest.mark.parametrize("size", [2**15, 2**20])
def test_a_push_that_times_out_releases_its_memory(size: int) -> None:
    """The server gets the memory's content at the time of the push."""
    here, there = stream_pair()
    server = Silent(there)
    binding = Worker(server.bind)
    memory = bytearray(b"\1\2\3\4" * (size // 4))
    pushed = 0
    with blocking.bind(Calls, here) as client:
        binding.result()
        with blocking.operation_of(client.into).with_options(timeout=0.3).begin() as call:
            with pytest.raises(rpc.CallCancelled):
                while pushed < 2**21 - 2**16:
                    call.pipes["numbers"].push(memory)
                    pushed += size
                call.complete()
            memory[:] = bytes(size)
        looking = Worker(server.look)
    with there:
        frames = looking.result()
    octets = b"".join(frame.body for frame in frames if frame.kind is Kind.PIPE)
    assert octets.count(b"\1\2\3\4") in ((pushed + size) // 4, pushed // 4)
    assert frames[-1].kind is Kind.ORPHANED


def test_a_pull_that_times_out_gives_the_call_up() -> None:
    here, there = stream_pair()
    server = Silent(there)
    binding = Worker(server.bind)
    with blocking.bind(Calls, here) as client:
        binding.result()
        with blocking.operation_of(client.out).with_options(timeout=0.05).begin() as call:
            with pytest.raises(rpc.CallCancelled):
                call.pipes["numbers"].pull()
    with there:
        assert [frame.kind for frame in server.look()] == [Kind.REQUEST, Kind.ORPHANED]


def test_a_sending_thread_sends_for_other_threads() -> None:
    """One call is at the system when another one begins: its request does not wait for the first
    one's answer, which here needs it.
    """
    both = Gate()

    def manager(value: str) -> str:
        if value == "first":
            both.wait()
        else:
            both.open()
        return value

    with served(manager) as client, at_most(20):
        link = client._link
        send_now = link.transport.send_now
        others: list[Worker] = []

        def send_beside_another_one() -> Any:
            link.transport.send_now = send_now
            others.append(Worker(client.plain, "second"))
            while not link.session.has_output:
                threading.Event().wait(0.001)
            return send_now()

        link.transport.send_now = send_beside_another_one
        with client.plain.begin("first") as call:
            assert call.complete() == "first"
        assert others[0].result() == "second"


def test_a_silent_client_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BIND_TIMEOUT", 0.05)
    here, there = stream_pair()
    server = Worker(blocking.serve_connection, Manager(), there)
    with here, at_most(20):
        assert here.receive_some() == b""
    server.result()


def test_a_silent_server_is_abandoned() -> None:
    with streams.listen(unique_endpoint()) as listener, at_most(20):
        with pytest.raises(rpc.BindTimeout, match=r"has not answered within 0\.05 s"):
            with blocking.connect(Calls, listener.endpoint, bind_timeout=0.05):
                pass
        with listener.accept() as stream:
            assert receive_all(stream)  # the client has sent its bind


def test_a_timeout_error_of_a_source_ends_the_call() -> None:
    def source(count: int) -> bytes:
        raise TimeoutError("the source's")

    with served(lambda pipe: sum(map(sum, pipe))) as client:
        with client.into.begin(source) as call:
            with pytest.raises(TimeoutError, match="the source's"):
                call.complete_nowait()
            with pytest.raises(rpc.InvalidAsyncHandle):
                call.complete_nowait()


def test_a_call_frees_its_data_when_it_is_over() -> None:
    with served(lambda value: value) as client:
        gc.collect()
        gc.disable()
        try:
            with client.plain.begin(bytes(2**20)) as call:
                assert len(call.complete()) == 2**20
            gone = weakref.ref(call._driver.call)
            del call
            assert gone() is None
        finally:
            gc.enable()


@pytest.mark.skipif(sys.platform == "win32", reason="a read of Windows has its memory beforehand")
def test_a_silent_connection_holds_no_memory() -> None:
    tracemalloc.start()
    try:
        with served(lambda pipe: sum(len(chunk) for chunk in pipe)) as client:
            assert client.into(array.array("i", bytes(8 * 2**20))) == 2 * 2**20
            frames._spare.clear()  # buffers shared by all connections
            assert tracemalloc.get_traced_memory()[0] < 2**20
    finally:
        tracemalloc.stop()
