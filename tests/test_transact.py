"""transact: a reply is never taken for the reply to another request."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .channels import MAKERS, Maker, connected, two_ways
from .interruptions import interrupted


async def answer(server: Any, delay: float = 0) -> None:
    """Answers each message."""
    async for message in server:
        if delay:
            await trio.sleep(delay)
        await server.send(b"re:" + message)


@pytest.mark.parametrize("maker", MAKERS)
async def test_requests_that_are_cancelled_anywhere(maker: Maker) -> None:
    randoms = random.Random(3)
    client, server = await maker()
    replies = 0

    async def ask(message: bytes, passes: int) -> bool:
        nonlocal replies
        is_broken = False
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(passes):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel)
            try:
                assert await client.transact(message) == b"re:" + message
                replies += 1
            except trio.BrokenResourceError as error:
                # On POSIX, a connection of ipcpipes stays usable after every cancelled request.
                assert not client._sends_now
                assert str(error).endswith("half-way")
                is_broken = True
            nursery.cancel_scope.cancel()
        return is_broken

    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(answer, server)
        for number in range(300):
            message = b"%d " % number + bytes(randoms.choice((0, 10, 70_000)))
            if await ask(message[: client.max_size - 3], randoms.randrange(12)):
                break
        else:
            assert await client.transact(b"the last") == b"re:the last"
            await server.send(b"a message")
            assert await client.receive() == b"a message"
            assert replies
        nursery.cancel_scope.cancel()


@two_ways
async def test_a_request_waits_for_earlier_messages(framing: Any) -> None:
    client, server = await connected(framing)()
    async with client, server, trio.open_nursery() as nursery:
        for number in range(5):
            client.send_nowait(b"%d" % number)
        nursery.start_soon(client.transact, b"request")
        got = [await server.receive() for _ in range(6)]
        assert got == [b"0", b"1", b"2", b"3", b"4", b"request"]
        nursery.cancel_scope.cancel()


@two_ways
async def test_a_request_while_another_task_sends(framing: Any) -> None:
    client, server = await connected(framing)()
    async with client, server, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(client.send, bytes(50_000))
        await trio.testing.wait_all_tasks_blocked(0.05)
        replies: list[bytes] = []

        async def ask() -> None:
            replies.append(await client.transact(b"request"))

        nursery.start_soon(ask)
        for _ in range(50):
            assert await server.receive() == bytes(50_000)
        assert await server.receive() == b"request"
        await server.send(b"reply")
    assert replies == [b"reply"]


@two_ways
async def test_every_receiving_method_discards_a_late_reply(framing: Any) -> None:
    client, server = await connected(framing)()
    async with client, server:

        async def ask_in_vain() -> None:
            with trio.move_on_after(0.01) as scope:
                await client.transact(b"request")
            assert scope.cancelled_caught
            assert await server.receive() == b"request"
            await server.send_many([b"late", b"a message"])

        await ask_in_vain()
        assert await client.receive() == b"a message"
        await ask_in_vain()
        got: list[bytes] = []
        while not got:
            got += await client.receive_many()
        assert got == [b"a message"]
        await ask_in_vain()
        message = None
        while message is None:
            try:
                message = client.receive_nowait()
            except trio.WouldBlock:
                await trio.sleep(0.001)
        assert message == b"a message"


@two_ways
async def test_descriptors_of_a_late_reply_are_closed(framing: Any) -> None:
    if sys.platform == "win32":
        pytest.skip("the end of an anonymous pipe does not tell there")
    endpoint = unique_endpoint()
    async with await ipcpipes.listen_messages(
        endpoint, framing=framing, max_descriptors=1
    ) as listener:
        client = await ipcpipes.connect_messages(endpoint, framing=framing, max_descriptors=1)
        server = await listener.accept()
    async with client, server:
        with trio.move_on_after(0.01):
            await client.transact(b"request")
        assert await server.receive() == b"request"
        reading, writing = os.pipe()
        await server.send_descriptors(b"late", [writing])
        os.close(writing)
        await server.send(b"a message")
        assert await client.receive_descriptors() == (b"a message", [])
        assert os.read(reading, 1) == b"", "the descriptor of the late reply is closed"
        os.close(reading)


@two_ways
async def test_a_peer_that_leaves_ends_a_request(framing: Any) -> None:
    client, server = await connected(framing)()
    async with client, trio.open_nursery() as nursery:

        async def leave() -> None:
            assert await server.receive() == b"request"
            await server.aclose()

        nursery.start_soon(leave)
        with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            await client.transact(b"request")
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await client.transact(b"another")


async def test_a_request_that_is_lost_with_gathered_messages_is_told() -> None:
    client, server = await connected(ipcpipes.LengthPrefixed())()
    async with client, server:
        client.send_nowait(b"at once")
        assert await server.receive() == b"at once"
        client.send_nowait(b"gathered")
        if sys.platform == "win32":
            await server.aclose()
        else:
            import socket

            # The peer stays, and reads no more.
            with socket.socket(fileno=os.dup(server.stream._number)) as copy:
                copy.shutdown(socket.SHUT_RD)
        with trio.fail_after(60), pytest.raises((trio.BrokenResourceError, trio.EndOfChannel)):
            await client.transact(b"request")


# The blocking driver


class Answering:
    """A connected blocking channel whose peer answers in a thread.

    Args:
        may_answer: the peer waits for it before each answer.
    """

    client: Any

    def __init__(self, framing: Any, may_answer: threading.Event | None = None) -> None:
        self._may_answer = may_answer
        with blocking.listen_messages(unique_endpoint(), framing=framing) as listener:
            self.client = blocking.connect_messages(listener.endpoint, framing=framing)
            self._server = listener.accept()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        with self._server:
            try:
                for message in self._server:
                    if self._may_answer is not None:
                        assert self._may_answer.wait(60)
                    self._server.send(b"re:" + message)
            except trio.BrokenResourceError:
                pass  # the client has closed

    def __enter__(self) -> Any:
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._thread.join()


@two_ways
def test_a_late_reply_to_a_request_with_a_timeout(framing: Any) -> None:
    may_answer = threading.Event()
    with Answering(framing, may_answer) as channel:
        for message in (b"one", b"two"):
            with pytest.raises(TimeoutError, match=r"^nothing was received within 0.02 s$"):
                channel.transact(message, timeout=0.02)
        may_answer.set()
        assert channel.transact(b"three", timeout=60) == b"re:three"
        assert channel.transact(bytearray(b"four")) == b"re:four"


@two_ways
def test_receiving_discards_late_replies(framing: Any) -> None:
    may_answer = threading.Event()
    with Answering(framing, may_answer) as channel:
        receives: tuple[Callable[[], bytes], ...] = (
            channel.receive,
            lambda: channel.receive_many()[-1],
        )
        for receive in receives:
            may_answer.clear()
            with pytest.raises(TimeoutError):
                channel.transact(b"one", timeout=0.01)
            channel.send(b"two")
            may_answer.set()
            assert receive() == b"re:two"


@two_ways
def test_one_thread_at_a_time_receives(framing: Any) -> None:
    may_answer = threading.Event()
    with Answering(framing, may_answer) as channel:
        thread = threading.Thread(target=channel.transact, args=(b"first",))
        thread.start()
        with pytest.raises(trio.BusyResourceError):
            while True:  # until the thread is inside
                with suppress(TimeoutError):
                    channel.receive(timeout=0.001)
        with pytest.raises(trio.BusyResourceError):
            channel.transact(b"second")
        may_answer.set()
        thread.join()
        assert channel.transact(b"third") == b"re:third"


class Refusing(ipcpipes.LengthPrefixed):
    """A framing that refuses messages with an error of its own."""

    def join(self, messages: Any) -> Any:
        raise ValueError("refused")


def test_a_request_that_the_framing_refuses_changes_nothing() -> None:
    with Answering(ipcpipes.LengthPrefixed()) as channel:
        channel.send(b"one")
        refusing = blocking.MessageChannel(channel.stream, Refusing())
        with pytest.raises(ValueError, match="refused"):
            refusing.transact(b"two")
        assert refusing.receive() == b"re:one"


@two_ways
def test_an_interrupted_request_takes_no_other_reply(framing: Any) -> None:
    step = 0
    went_on = 0
    where: str | None = ""
    while where is not None:
        step += 1
        with Answering(framing) as channel:
            assert channel.transact(b"before") == b"re:before"
            where = interrupted(step, lambda: channel.transact(b"request"))
            try:
                assert channel.transact(b"next") == b"re:next", where
                assert channel.transact(b"last") == b"re:last", where
                went_on += 1
            except trio.BrokenResourceError as error:
                assert "interrupted" in str(error), where
    assert step > 10
    assert went_on > step // 4, "most interrupts leave the channel usable"


def test_a_storm_of_signals() -> None:
    if sys.platform == "win32":
        pytest.skip("there are no timers that send signals")

    class Signal(Exception):
        pass

    def handle(*_: object) -> None:
        raise Signal

    previous = signal.signal(signal.SIGALRM, handle)
    replies = interrupts = broken = 0
    try:
        for _ in range(20):
            with Answering(ipcpipes.LengthPrefixed()) as channel:
                try:
                    for number in range(200):
                        message = b"%d" % number
                        try:
                            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-4))
                            try:
                                reply = channel.transact(message)
                            finally:
                                signal.setitimer(signal.ITIMER_REAL, 0)
                        except Signal:
                            interrupts += 1
                        else:
                            assert reply == b"re:" + message
                            replies += 1
                except trio.BrokenResourceError as error:
                    assert "interrupted" in str(error)
                    broken += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert replies, (interrupts, broken)
    assert interrupts, (replies, broken)
