"""Anonymous pipes without an event loop. test_handing_over.py tests what both drivers share."""

from __future__ import annotations

import gc
import math
import os
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking
from ipcpipes.blocking import open_anonymous_pipe

from .children import SECONDS
from .conftest import WINDOWS
from .drivers import TrioStream
from .threads import Worker, plain_child, receive_all, receive_exactly, settle

if TYPE_CHECKING:

    def contracts(
        sender: blocking.AnonymousSendStream, receiver: blocking.AnonymousReceiveStream
    ) -> tuple[
        blocking.abc.AnonymousPipeEnd,
        blocking.abc.AnonymousPipeEnd,
        blocking.abc.SendByteStream,
        blocking.abc.ReceiveByteStream,
    ]:
        return sender, receiver, sender, receiver


def pipe() -> tuple[Any, Any]:
    """(send end, receive end)"""
    receiver, sender = open_anonymous_pipe()
    return sender, receiver


async def adapted_pipe() -> tuple[Any, Any]:
    sender, receiver = pipe()
    return TrioStream(sender), TrioStream(receiver)


async def test_conformance() -> None:
    # Without a full pipe: a send in a thread cannot be cancelled.
    await trio.testing.check_one_way_stream(adapted_pipe, None)


def test_types_match_the_direction() -> None:
    sender, receiver = pipe()
    with sender, receiver:
        assert isinstance(sender, blocking.AnonymousSendStream)
        assert isinstance(receiver, blocking.AnonymousReceiveStream)
        for end in (sender, receiver):
            assert end.peer == ipcpipes.PeerIdentity()
            assert end.endpoint.kind == "inherited"
            assert end.endpoint.name in end.address
            assert repr(end.address) in repr(end)
            assert not hasattr(end, "send_eof")
        assert not hasattr(sender, "receive_some")
        assert not hasattr(receiver, "send_all")
    assert "closed" in repr(sender)


@pytest.mark.parametrize("timeout", [None, SECONDS])
@pytest.mark.parametrize("size", [0, 1, 65_537, 5_000_000])
def test_any_amount_arrives_whole(size: int, timeout: float | None) -> None:
    data = (os.urandom(1024) * (size // 1024 + 1))[:size]
    sender, receiver = pipe()
    with sender, receiver:
        sending = Worker(sender.send_all, data, timeout=timeout)
        assert receive_exactly(receiver, size) == data
        sending.result()


def test_any_contiguous_buffer_can_be_sent_and_filled() -> None:
    sender, receiver = pipe()
    with sender, receiver:
        for data in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
            sender.send_all(data)
            assert receive_exactly(receiver, 3) == b"abc"
        for timeout in (None, SECONDS):
            sender.send_all(b"into memory")
            buffer = bytearray(20)
            assert receiver.receive_into(buffer, timeout=timeout) == 11
            assert bytes(buffer[:11]) == b"into memory"
        with pytest.raises(TypeError, match="encode it"):
            sender.send_all("text")
        with pytest.raises(ValueError, match="1"):
            receiver.receive_some(0)


def test_end_arrives_after_all_data() -> None:
    sender, receiver = pipe()
    with receiver:
        with sender:
            sender.send_all(b"last words")
        assert receive_all(receiver) == b"last words"
        for timeout in (None, 0, 1):
            assert receiver.receive_some(timeout=timeout) == b""
            assert receiver.receive_into(bytearray(1), timeout=timeout) == 0


def test_closed_receive_end_breaks_sending() -> None:
    sender, receiver = pipe()
    with sender:
        sender.send_all(b"unread")
        receiver.close()
        for timeout in (None, 0, 1):
            with pytest.raises(trio.BrokenResourceError, match="closed or died"):
                sender.send_all(b"x", timeout=timeout)


@pytest.mark.parametrize("timeout", [None, SECONDS])
def test_closing_the_receive_end_breaks_a_waiting_send(timeout: float | None) -> None:
    sender, receiver = pipe()
    with sender, receiver:
        sending = Worker(sender.send_all, bytes(1_000_000), timeout=timeout)
        settle()
        receiver.close()
        with pytest.raises(trio.BrokenResourceError, match="closed or died"):
            sending.result()


def test_timed_out_receive_loses_nothing() -> None:
    sender, receiver = pipe()
    with sender, receiver:
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match="nothing was received"):
                receiver.receive_some(timeout=timeout)
            with pytest.raises(TimeoutError, match="nothing was received"):
                receiver.receive_into(bytearray(1), timeout=timeout)
        sender.send_all(b"later", timeout=0)
        assert receiver.receive_some(timeout=0) == b"later"
        sender.send_all(b"much later", timeout=math.inf)
        assert receiver.receive_some(timeout=math.inf) == b"much later"
        for wrong, kind in ((-1, ValueError), ("1", TypeError)):
            with pytest.raises(kind):
                receiver.receive_some(timeout=wrong)
            with pytest.raises(kind):
                sender.send_all(b"x", timeout=wrong)


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_send_timed_out_half_way_breaks_sending(timeout: float) -> None:
    sender, receiver = pipe()
    with sender, receiver:
        with pytest.raises(TimeoutError, match="not all could be sent"):
            sender.send_all(bytes(1_000_000), timeout=timeout)
        for data in (b"x", b""):
            with pytest.raises(trio.BrokenResourceError, match="interrupted"):
                sender.send_all(data)
        sender.close()
        assert len(receive_all(receiver)) < 1_000_000


@pytest.mark.skipif(WINDOWS, reason="Windows takes a write that does not fit as a pending one")
def test_send_timed_out_before_first_byte_changes_nothing() -> None:
    sender, receiver = pipe()
    with sender, receiver:
        held = 0
        with pytest.raises(TimeoutError):
            while True:
                sender.send_all(b"x", timeout=0)
                held += 1
        with pytest.raises(TimeoutError):
            sender.send_all(b"y", timeout=0.01)
        assert receive_exactly(receiver, held) == b"x" * held
        sender.send_all(b"usable")
        assert receiver.receive_some() == b"usable"


@pytest.mark.parametrize("timeout", [None, SECONDS])
def test_closing_wakes_waiting_threads(timeout: float | None) -> None:
    for operation in ("receive_some", "receive_into", "send_all"):
        sender, receiver = pipe()
        with sender, receiver:
            end = sender if operation == "send_all" else receiver
            argument: Any = {"receive_some": 10, "receive_into": bytearray(10)}.get(
                operation, bytes(1_000_000)
            )
            inside = Worker(getattr(end, operation), argument, timeout=timeout)
            settle()
            end.close()
            end.close()
            with pytest.raises(trio.ClosedResourceError, match="closed here"):
                inside.result()
            with pytest.raises(trio.ClosedResourceError, match="closed here"):
                getattr(end, operation)(argument)


def test_second_thread_is_busy() -> None:
    for way in ("sending", "receiving"):
        sender, receiver = pipe()
        with sender, receiver:
            end = sender if way == "sending" else receiver
            operation, argument = (
                (sender.send_all, bytes(1_000_000))
                if way == "sending"
                else (receiver.receive_some, 10)
            )
            inside = Worker(operation, argument)
            settle()
            with pytest.raises(trio.BusyResourceError, match=way):
                operation(argument)
            end.close()
            with pytest.raises(trio.ClosedResourceError):
                inside.result()


_INTERRUPT = """
import _thread, os, signal
def interrupted(operation, *arguments, **options):
    def interrupt():
        if sys.platform == "win32":
            _thread.interrupt_main()
        else:
            os.kill(os.getpid(), signal.SIGINT)
    # After a while, so that the thread is waiting by then.
    timer = threading.Timer(0.2, interrupt)
    timer.start()
    try:
        operation(*arguments, **options)
    except KeyboardInterrupt:
        return True
    finally:
        timer.join()
    return False
receiver, sender = blocking.open_anonymous_pipe()
for timeout in (None, 30):
    assert interrupted(receiver.receive_some, timeout=timeout)
    assert interrupted(receiver.receive_into, bytearray(10), timeout=timeout)
sender.send_all(b"nothing is lost")
assert receiver.receive_some() == b"nothing is lost"
for timeout in (None, 30):
    receiver.close()
    sender.close()
    receiver, sender = blocking.open_anonymous_pipe()
    assert interrupted(sender.send_all, bytes(1_000_000), timeout=timeout)
    try:
        sender.send_all(b"x")
    except trio.BrokenResourceError as error:
        assert "interrupted" in str(error)
    else:
        raise AssertionError("a part went out")
# The handler closes what its own thread is waiting for.
receiver.close()
sender.close()
receiver, sender = blocking.open_anonymous_pipe()
signal.signal(signal.SIGINT, lambda *_: receiver.close())
try:
    interrupted(receiver.receive_some)
except trio.ClosedResourceError:
    say("closed")
sender.close()
say("done")
"""


def test_ctrl_c_ends_a_waiting_receive() -> None:
    with plain_child(_INTERRUPT) as child:
        assert child.hear() == "closed"
        assert child.hear() == "done"
        assert child.wait() == 0


def test_forgotten_end_warns_and_is_closed() -> None:
    sender, receiver = pipe()
    with pytest.raises(TimeoutError):
        receiver.receive_some(timeout=0.01)
    with pytest.warns(ResourceWarning, match="unclosed.*SendStream"):
        del sender
        gc.collect()
    assert receiver.receive_some() == b""
    with pytest.warns(ResourceWarning, match="unclosed.*ReceiveStream"):
        del receiver
        gc.collect()
