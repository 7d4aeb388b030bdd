"""Windows: synchronous ends of pipes that CreatePipe made (.NET, subprocess)."""

from __future__ import annotations

import os
import secrets
import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint, blocking

from .children import SECONDS
from .inheriting import USERS, inheriting_child
from .pairs import receive_all, receive_exactly
from .test_anonymous_pipes import raises
from .test_handing_over import close
from .test_inherited_endpoints import DOORS, drivers, left_alone
from .threads import Worker, plain_child, settle

if sys.platform != "win32":
    pytest.skip("about handles", allow_module_level=True)

import _winapi
import msvcrt

HELD = 4096  # bytes: the size that CreatePipe chooses for 0


def create_pipe() -> tuple[int, int]:
    """Returns handles of (receive end, send end)."""
    return _winapi.CreatePipe(None, 0)


def descriptor(handle: int) -> int:
    return msvcrt.open_osfhandle(handle, os.O_BINARY)


def inherited(handle: int) -> Endpoint:
    """Returns the endpoint of the handle, as if this process had inherited it."""
    os.set_handle_inheritable(handle, True)
    return Endpoint.inherited(handle)


async def pipe() -> tuple[Any, Any]:
    """Returns (send end, receive end), both taken over."""
    receiving, sending = create_pipe()
    receiver = await ipcpipes.connect(inherited(receiving), direction="receive")
    return await ipcpipes.connect(inherited(sending), direction="send"), receiver


def blocking_pipe() -> tuple[Any, Any]:
    receiving, sending = create_pipe()
    receiver = blocking.connect(inherited(receiving), direction="receive")
    return blocking.connect(inherited(sending), direction="send"), receiver


@pytest.mark.parametrize("user", USERS)
def test_child_receives_from_its_parent(user: str) -> None:
    receiving, sending = create_pipe()
    os.set_handle_inheritable(receiving, True)
    fd = descriptor(sending)
    with inheriting_child(USERS[user], str(receiving), "receive") as child:
        _winapi.CloseHandle(receiving)
        assert child.hear() == "ready"
        os.write(fd, b"hello")
        assert child.hear() == "hello"
        os.close(fd)
        assert child.wait() == 0, "the child must see the end of the stream"


@pytest.mark.parametrize("user", USERS)
def test_child_sends_to_its_parent(user: str) -> None:
    receiving, sending = create_pipe()
    os.set_handle_inheritable(sending, True)
    fd = descriptor(receiving)
    with inheriting_child(USERS[user], str(sending), "send") as child:
        _winapi.CloseHandle(sending)
        assert child.hear() == "ready"
        child.say("hello")
        assert os.read(fd, 100) == b"hello"
        child.kill()
        assert os.read(fd, 100) == b""
    os.close(fd)


async def test_conformance() -> None:
    await trio.testing.check_one_way_stream(pipe, None)


@pytest.mark.parametrize("size", [0, 1, HELD, HELD + 1, 300_000])
async def test_any_amount_arrives_whole(size: int) -> None:
    data = (os.urandom(1024) * (size // 1024 + 1))[:size]
    sender, receiver = await pipe()
    async with sender, receiver, trio.open_nursery() as nursery:
        nursery.start_soon(sender.send_all, data)
        assert await receive_exactly(receiver, size) == data


async def test_wait_notices_bytes_the_end_and_closing() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        with trio.move_on_after(0.1):
            await ipcpipes.wait([receiver])
            pytest.fail("nothing has arrived")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, b"abc")
            assert await ipcpipes.wait([receiver]) == [receiver]
        assert await receiver.receive_some() == b"abc"
        await sender.aclose()
        assert await ipcpipes.wait([receiver]) == [receiver]
        assert await receiver.receive_some() == b""


def test_blocking_wait_notices_bytes_the_end_and_closing() -> None:
    sender, receiver = blocking_pipe()
    with sender, receiver:
        assert blocking.wait([receiver], timeout=0.1) == []
        worker = Worker(blocking.wait, [receiver])
        sender.send_all(b"abc")
        assert worker.result() == [receiver]
        assert receiver.receive_some() == b"abc"
        sender.close()
        assert blocking.wait([receiver]) == [receiver]
        assert receiver.receive_some() == b""


async def test_ends_have_the_types_of_anonymous_pipes() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        assert isinstance(sender, ipcpipes.AnonymousSendStream)
        assert isinstance(receiver, ipcpipes.AnonymousReceiveStream)
        assert receiver.capacity == HELD
    sender, receiver = blocking_pipe()
    with sender, receiver:
        assert isinstance(sender, blocking.AnonymousSendStream)
        assert isinstance(receiver, blocking.AnonymousReceiveStream)


async def test_each_end_sees_the_other_close() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        await sender.send_all(b"last words")
        await sender.aclose()
        assert await receive_all(receiver) == b"last words"
        assert await receiver.receive_some() == b""
    sender, receiver = await pipe()
    async with sender, receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.BrokenResourceError, sender.send_all, bytes(100_000))
            await trio.sleep(0.05)
            await receiver.aclose()
        with pytest.raises(trio.BrokenResourceError, match="closed or died"):
            await sender.send_all(b"x")


async def test_cancellation_loses_nothing_or_breaks_sending() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        with trio.move_on_after(0.05) as scope:
            await receiver.receive_some()
        assert scope.cancelled_caught
        await sender.send_all(bytes(HELD))
        with trio.move_on_after(0.05) as scope:
            await sender.send_all(b"not sent")
        assert scope.cancelled_caught
        assert await receive_exactly(receiver, HELD) == bytes(HELD)
        await sender.send_all(b"usable")
        assert await receive_exactly(receiver, 6) == b"usable"
        with trio.move_on_after(0.05) as scope:
            await sender.send_all(bytes(HELD + 1))
        assert scope.cancelled_caught
        with pytest.raises(trio.BrokenResourceError, match=f"after {HELD} of {HELD + 1} bytes"):
            await sender.send_all(b"x")


async def test_closing_wakes_a_waiting_task() -> None:
    for operation, argument in (("receive_some", None), ("send_all", bytes(100_000))):
        sender, receiver = await pipe()
        end = sender if argument else receiver
        async with sender, receiver, trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.ClosedResourceError, getattr(end, operation), argument)
            await trio.sleep(0.05)
            with pytest.raises(trio.BusyResourceError):
                await getattr(end, operation)(argument)
            await end.aclose()


@pytest.mark.parametrize("timeout", [None, SECONDS])
def test_closing_wakes_a_waiting_thread(timeout: float | None) -> None:
    for operation, argument in (("receive_some", None), ("send_all", bytes(100_000))):
        sender, receiver = blocking_pipe()
        end = sender if argument else receiver
        with sender, receiver:
            inside = Worker(getattr(end, operation), argument, timeout=timeout)
            settle()
            with pytest.raises(trio.BusyResourceError):
                getattr(end, operation)(argument)
            end.close()
            with pytest.raises(trio.ClosedResourceError):
                inside.result()


def test_timeouts_lose_nothing_or_break_sending() -> None:
    sender, receiver = blocking_pipe()
    with sender, receiver:
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match="nothing was received"):
                receiver.receive_some(timeout=timeout)
        sender.send_all(bytes(HELD), timeout=0)
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match="not all could be sent"):
                sender.send_all(b"not sent", timeout=timeout)
        got = bytearray(2 * HELD)
        assert receiver.receive_into(got, timeout=0) == HELD
        sender.send_all(b"usable", timeout=SECONDS)
        assert receiver.receive_some(timeout=SECONDS) == b"usable"
        with pytest.raises(TimeoutError):
            sender.send_all(bytes(HELD + 1), timeout=0.05)
        with pytest.raises(trio.BrokenResourceError, match="interrupted"):
            sender.send_all(b"x")
        sender.close()
        assert b"".join(receiver) == bytes(HELD)
    sender, receiver = blocking_pipe()
    with sender:
        receiver.close()
        with pytest.raises(trio.BrokenResourceError, match="closed or died"):
            sender.send_all(b"x")


def test_ctrl_c_ends_a_wait() -> None:
    program = """
        import _thread, _winapi, os
        def interrupted(operation, *arguments):
            timer = threading.Timer(0.3, _thread.interrupt_main)
            timer.start()
            try:
                operation(*arguments)
            except KeyboardInterrupt:
                return True
            finally:
                timer.join()
            return False
        ends = []
        for handle, direction in zip(_winapi.CreatePipe(None, 0), ("receive", "send")):
            os.set_handle_inheritable(handle, True)
            where = ipcpipes.Endpoint.inherited(handle)
            ends.append(blocking.connect(where, direction=direction))
        assert interrupted(ends[0].receive_some)
        assert interrupted(ends[1].send_all, bytes(100_000))
        try:
            ends[1].send_all(b"x")
        except trio.BrokenResourceError:
            say("broken")
        for end in ends:
            end.close()
        """
    with plain_child(program) as child:
        assert child.hear() == "broken"
        assert child.wait() == 0


@drivers
def test_unused_inherited_end_can_be_handed_over(driver: str) -> None:
    receiving, sending = create_pipe()
    end = DOORS[driver](inherited(sending), direction="send")
    fd = descriptor(receiving)
    with inheriting_child(USERS["ignorant"], end.hand_over(), "send") as child:
        end.dispose_local_copy()
        assert child.hear() == "ready"
        child.say("hello")
        assert os.read(fd, 100) == b"hello"
    os.close(fd)
    close(end)


@drivers
def test_synchronous_duplex_handle_is_refused(driver: str) -> None:
    name = rf"\\.\pipe\test-{secrets.token_hex(8)}"
    duplex, generic = 3, 0xC0000000
    server = _winapi.CreateNamedPipe(name, duplex, 0, 1, HELD, HELD, 0, 0)
    client = _winapi.CreateFile(name, generic, 0, 0, _winapi.OPEN_EXISTING, 0, 0)
    for handle in (server, client):
        where = inherited(handle)
        with left_alone(handle), pytest.raises(ipcpipes.NotSupported, match="OVERLAPPED"):
            DOORS[driver](where)
        _winapi.CloseHandle(handle)
