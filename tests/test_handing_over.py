"""What goes to a child: an end of an anonymous pipe, of either driver, and what is set on it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking

from .conftest import WINDOWS
from .inheriting import USERS, inheriting_child
from .threads import Worker, plain_child, settle

Opener = Callable[..., tuple[Any, Any]]

OPENERS: dict[str, Opener] = {
    "trio": ipcpipes.open_anonymous_pipe,
    "blocking": blocking.open_anonymous_pipe,
}
openers = pytest.mark.parametrize(
    "opener", [pytest.param(opener, id=name) for name, opener in OPENERS.items()]
)


def is_of_trio(end: Any) -> bool:
    return isinstance(end, ipcpipes.abc.Connection)


def close(*ends: Any) -> None:
    for end in ends:
        # Without a checkpoint, so that these tests need no event loop.
        end._close() if is_of_trio(end) else end.close()


def is_inheritable(number: str) -> bool:
    if sys.platform == "win32":
        return os.get_handle_inheritable(int(number))
    return os.get_inheritable(int(number))


def send_all(end: Any, data: bytes) -> None:
    if is_of_trio(end):
        trio.run(end.send_all, data)
    else:
        end.send_all(data)


def receive_some(end: Any) -> bytes:
    data: bytes = trio.run(end.receive_some) if is_of_trio(end) else end.receive_some()
    return data


@openers
def test_the_number_travels_as_text(opener: Opener) -> None:
    for end in (ends := opener()):
        assert not is_inheritable(end.endpoint.name)
        text = end.hand_over()
        assert isinstance(text, str)
        assert text.isdecimal()
        assert end.hand_over() == text, "asked again, the same"
        assert ipcpipes.Endpoint.inherited(text) == end.endpoint
        # POSIX: only a child that is started with its number inherits it.
        assert is_inheritable(text) is WINDOWS
        if sys.platform != "win32":
            assert os.get_blocking(int(text)), "as any program expects of what it inherits"
    close(*ends)


@openers
def test_handed_over_end_cannot_be_used_here(opener: Opener) -> None:
    receiver, sender = opener()
    for end in (receiver, sender):
        end.hand_over()
    handed_over = pytest.raises(trio.ClosedResourceError, match="handed over")
    with handed_over:
        send_all(sender, b"x")
    with handed_over:
        receive_some(receiver)
    for end in (receiver, sender):
        with handed_over:
            _ = end.capacity
        with handed_over:
            _ = end.send_buffer_size
        with handed_over:
            end.set_capacity(4096)
        assert end.peer == ipcpipes.PeerIdentity()
        end.dispose_local_copy()
        end.dispose_local_copy()
        with handed_over:
            end.hand_over()
        close(end)
        close(end)


@openers
def test_used_end_cannot_be_handed_over(opener: Opener) -> None:
    receiver, sender = opener()
    send_all(sender, b"abc")
    assert receive_some(receiver) == b"abc"
    for end in (receiver, sender):
        with pytest.raises(RuntimeError, match="was used in this process"):
            end.hand_over()
    # It is as it was.
    if isinstance(sender, blocking.AnonymousSendStream):
        send_all(sender, b"def")
        assert receive_some(receiver) == b"def"
    close(receiver, sender)


@openers
def test_reading_attributes_does_not_use_an_end(opener: Opener) -> None:
    for end in (ends := opener()):
        _ = (end.peer, end.endpoint, end.address, repr(end))
        if sys.platform == "linux":
            _ = (end.capacity, end.send_buffer_size, end.receive_buffer_size)
        assert end.hand_over()
    close(*ends)


@openers
def test_a_closed_end_cannot_be_handed_over(opener: Opener) -> None:
    ends = opener()
    close(*ends)
    for end in ends:
        with pytest.raises(trio.ClosedResourceError, match="closed here"):
            end.hand_over()
        end.dispose_local_copy()


async def test_an_end_that_a_task_uses_cannot_be_handed_over() -> None:
    receiver, sender = ipcpipes.open_anonymous_pipe()
    async with sender:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receiver.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                receiver.hand_over()
            await sender.send_all(b"x")
        await receiver.aclose()


def test_an_end_that_a_thread_uses_cannot_be_handed_over() -> None:
    receiver, sender = blocking.open_anonymous_pipe()
    with sender, receiver:
        inside = Worker(receiver.receive_some)
        settle()
        with pytest.raises(trio.BusyResourceError):
            receiver.hand_over()
        sender.send_all(b"x")
        assert inside.result() == b"x"


@openers
def test_unclosed_ends_warn_handed_over_or_not(opener: Opener) -> None:
    for handed_over in (False, True):
        receiver, sender = opener()
        if handed_over:
            sender.hand_over()
        with pytest.warns(ResourceWarning, match="unclosed.*SendStream"):
            del sender
            gc.collect()
        assert receive_some(receiver) == b"", "it is closed all the same"
        close(receiver)
        receiver, sender = opener()
        if handed_over:
            receiver.hand_over()
        with pytest.warns(ResourceWarning, match="unclosed.*ReceiveStream"):
            del receiver
            gc.collect()
        with pytest.raises(trio.BrokenResourceError):
            send_all(sender, b"x")
        close(sender)


@pytest.mark.parametrize("user", USERS)
@openers
def test_a_child_sends_on_the_end_it_got(opener: Opener, user: str) -> None:
    receiver, sender = opener()
    with inheriting_child(USERS[user], sender.hand_over(), "send") as child:
        sender.dispose_local_copy()
        assert child.hear() == "ready"
        child.say("hello")
        if is_of_trio(receiver):

            async def look() -> None:
                assert await receiver.receive_some() == b"hello"
                child.kill()
                assert await receiver.receive_some() == b"", "no other process has the other end"

            trio.run(look)
        else:
            assert receiver.receive_some() == b"hello"
            child.kill()
            assert receiver.receive_some() == b"", "no other process has the other end"
    close(receiver, sender)


@pytest.mark.parametrize("user", USERS)
@openers
def test_a_child_receives_from_the_end_it_got(opener: Opener, user: str) -> None:
    receiver, sender = opener()
    with inheriting_child(USERS[user], receiver.hand_over(), "receive") as child:
        receiver.dispose_local_copy()
        assert child.hear() == "ready"
        if is_of_trio(sender):

            async def use() -> None:
                await sender.send_all(b"hello")
                assert await trio.to_thread.run_sync(child.hear) == "hello"
                await sender.aclose()

            trio.run(use)
        else:
            sender.send_all(b"hello")
            assert child.hear() == "hello"
            sender.close()
        assert child.wait() == 0, "it has seen the end of the stream"
    close(receiver, sender)


def test_a_child_that_dies_breaks_sending() -> None:
    receiver, sender = blocking.open_anonymous_pipe()
    with inheriting_child(USERS["blocking"], receiver.hand_over(), "receive") as child, sender:
        receiver.dispose_local_copy()
        assert child.hear() == "ready"
        child.kill()
        with pytest.raises(trio.BrokenResourceError, match="closed or died"):
            sender.send_all(b"x")


def test_undisposed_copy_keeps_the_pipe_open() -> None:
    receiver, sender = blocking.open_anonymous_pipe()
    with inheriting_child(USERS["blocking"], sender.hand_over(), "send") as child, receiver:
        assert child.hear() == "ready"
        child.kill()
        with pytest.raises(TimeoutError):
            receiver.receive_some(timeout=0.2)
        sender.dispose_local_copy()
        assert receiver.receive_some() == b""


@openers
def test_other_processes_inherit_no_end(opener: Opener) -> None:
    receiver, sender = opener()
    program = """
        # The number may well be of something else there, but not of the pipe.
        hear()
        """
    with plain_child(program) as child:
        close(sender)
        assert receive_some(receiver) == b"", "the child does not hold it"
        child.say("end")
    close(receiver)


@openers
def test_the_capacity_is_an_int_in_range(opener: Opener) -> None:
    for wrong in (True, "4096", 4096.0):
        with pytest.raises(TypeError, match="capacity"):
            opener(capacity=wrong)
    for number in (0, -1, 2**31):
        with pytest.raises(ValueError, match="capacity"):
            opener(capacity=number)


@pytest.mark.skipif(not WINDOWS, reason="elsewhere it can be set, or not at all")
@openers
def test_windows_fixes_the_capacity_at_creation(opener: Opener) -> None:
    receiver, sender = opener(capacity=100_000)
    assert receiver.capacity >= 100_000
    for end in (receiver, sender):
        with pytest.raises(ipcpipes.NotSupported, match="when it is made"):
            end.set_capacity(100_000)
    close(receiver, sender)
    with pytest.raises(trio.ClosedResourceError):
        receiver.set_capacity(1)


@openers
def test_an_end_is_not_lost_if_handing_it_over_fails(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiving, sending = opener()

    def fail(number: int) -> None:
        raise ArithmeticError(number)

    with monkeypatch.context() as patched:
        patched.setattr(sending, "_prepare_for_child", fail)
        with pytest.raises(ArithmeticError):
            sending.hand_over()
    number = sending.hand_over()
    assert is_inheritable(number) or sys.platform != "win32"
    sending.dispose_local_copy()
    assert receive_some(receiving) == b""
    close(receiving, sending)
