"""The checks of the conformance kit for ``send_nowait`` and ``receive_nowait``."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from ..abc import MessageChannel
from ..errors import MessageTooLarge
from .expecting import checkpoints, raises

# So many small messages do not fit into the buffers of a channel and of the system.
_MANY = 10_000
_LARGE = 300_000


def _raises(error: type[Exception], function: Any, *arguments: Any) -> None:
    try:
        function(*arguments)
    except error:
        return
    raise AssertionError(f"{function!r} must raise {error.__name__}")


async def check_messages_without_waiting(sender: MessageChannel, receiver: MessageChannel) -> None:
    _raises(trio.WouldBlock, receiver.receive_nowait)
    sender.send_nowait(b"first")
    changing = bytearray(b"second")
    sender.send_nowait(changing)
    changing[:] = b"others"
    sender.send_nowait(memoryview(b"third"))
    await sender.send(b"fourth")
    sender.send_nowait(b"")
    await sender.send_many([b"sixth", b"seventh"])
    got = [await receiver.receive() for _ in range(7)]
    assert got == [b"first", b"second", b"third", b"fourth", b"", b"sixth", b"seventh"], "in order"
    assert all(type(message) is bytes for message in got)
    await checkpoints(sender.wait_sent)
    _raises(trio.WouldBlock, receiver.receive_nowait)


async def check_receiving_without_waiting(sender: MessageChannel, receiver: MessageChannel) -> None:
    messages = [b"%d" % number for number in range(10)]
    await sender.send_many(messages)
    got = [await receiver.receive()]
    while len(got) < len(messages):
        try:
            got.append(receiver.receive_nowait())
        except trio.WouldBlock:
            got.append(await receiver.receive())
    assert got == messages
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver.receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        _raises(trio.BusyResourceError, receiver.receive_nowait)
        nursery.cancel_scope.cancel()
    await sender.send(b"after it")
    assert await receiver.receive() == b"after it"


async def check_many_without_waiting(sender: MessageChannel, receiver: MessageChannel) -> None:
    messages = [b"%d" % number for number in range(_MANY)]
    large = bytes(min(_LARGE, sender.max_size))

    async def send() -> None:
        for message in messages:
            try:
                sender.send_nowait(message)
            except trio.WouldBlock:
                await sender.wait_sent()
                sender.send_nowait(message)
        await sender.wait_sent()
        sender.send_nowait(large)
        await sender.send(b"the end")

    got: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while not got or got[-1] != b"the end":
            got += await receiver.receive_many()
    assert got == [*messages, large, b"the end"], "each message arrives whole, once, and in order"


async def check_refusals_without_waiting(sender: MessageChannel, receiver: MessageChannel) -> None:
    if sender.max_size < 2**31:
        _raises(MessageTooLarge, sender.send_nowait, bytes(sender.max_size + 1))
    nonsense: Any
    for nonsense in ("text", 5, None, [b"list"], memoryview(b"abcdef")[::2]):
        _raises(TypeError, sender.send_nowait, nonsense)
    sender.send_nowait(b"still good")
    assert await receiver.receive() == b"still good"


async def check_close_after_not_waiting(sender: MessageChannel, receiver: MessageChannel) -> None:
    messages = [b"%d" % number for number in range(20)]
    for message in messages:
        sender.send_nowait(message)
    await checkpoints(sender.aclose)
    assert [message async for message in receiver] == messages, "closing delivers what was taken"
    _raises(trio.ClosedResourceError, sender.send_nowait, b"x")
    _raises(trio.ClosedResourceError, sender.receive_nowait)
    await raises(trio.ClosedResourceError, sender.wait_sent)


NOWAIT_CHECKS = [
    check_messages_without_waiting,
    check_receiving_without_waiting,
    check_many_without_waiting,
    check_refusals_without_waiting,
    check_close_after_not_waiting,
]
