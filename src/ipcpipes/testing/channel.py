"""The conformance kit for message channels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio
import trio.testing

from ..abc import HalfCloseableMessageChannel, MessageChannel, PeerIdentity
from ..errors import MessageTooLarge
from .channel_nowait import NOWAIT_CHECKS
from .channel_transact import check_cancelled_transact, check_transact
from .expecting import cancels, checkpoints, raises

ChannelMaker = Callable[[], Awaitable[tuple[MessageChannel, MessageChannel]]]

# These sizes are around those at which implementations change their method: the size of a read, the
# size from which a message is received in place, and a page more.
_SIZES = (0, 1, 2, 3, 64, 255, 256, 4096, 65_531, 65_536, 69_632, 300_000)
_LARGE = 300_000
# After so many large messages a channel that has not blocked counts as one that never blocks.
_ENOUGH = 64


async def check_message_channel(
    channel_maker: ChannelMaker, *, cancels_sends: bool = True, nowait: bool = True
) -> None:
    """Checks that channels keep the contract of :class:`ipcpipes.abc.MessageChannel`.

    It sends messages of up to 300,000 bytes where ``max_size`` allows them; ``max_size`` must be 64
    or more.

    Args:
        channel_maker: an async function that returns the two ends of a new connection. It is
            called many times; the kit closes the ends.
        cancels_sends: ``False`` skips the checks that cancel a send while it waits, for adapters of
            code that cannot do that.
        nowait: ``False`` skips the checks of ``send_nowait``, ``wait_sent`` and ``receive_nowait``,
            for adapters of code that always waits.

    Raises:
        AssertionError: a channel breaks the contract.
    """
    checks = [
        _check_messages,
        _check_batches,
        _check_receive_into,
        _check_invalid_messages,
        _check_checkpoints,
        _check_cancelled_receive,
        _check_busy,
        _check_many_senders,
        _check_both_directions_at_once,
        _check_end,
        _check_closed_peer,
        _check_close,
        _check_half_close,
        check_transact,
    ]
    if nowait:
        checks += NOWAIT_CHECKS
    if cancels_sends:
        checks += [_check_unsent_cancelled_send, _check_cancelled_send, check_cancelled_transact]
    for check in checks:
        for swapped in (False, True):
            left, right = await channel_maker()
            async with left, right:
                await check(*((right, left) if swapped else (left, right)))


def _message(size: int, seed: int = 0) -> bytes:
    """Returns ``size`` bytes that differ when they are shifted."""
    return (b"%d %d;" % (size, seed) * (size // 4 + 1))[:size]


def _sizes(channel: MessageChannel) -> list[int]:
    return [size for size in _SIZES if size <= channel.max_size]


async def _send_all(channel: MessageChannel, messages: Iterable[bytes]) -> None:
    for message in messages:
        await channel.send(message)


async def _receive_batches(channel: MessageChannel, count: int) -> list[bytes]:
    got: list[bytes] = []
    while len(got) < count:
        batch = await channel.receive_many()
        assert batch, "receive_many returns at least one message"
        got += batch
    return got


async def _exchange(sender: MessageChannel, receiver: MessageChannel, *messages: bytes) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_all, sender, messages)
        got = [await receiver.receive() for _ in messages]
    assert got == [*messages], "each message arrives whole, once, and in order"
    assert all(type(message) is bytes for message in got)


async def _check_messages(sender: MessageChannel, receiver: MessageChannel) -> None:
    assert isinstance(sender, trio.abc.Channel)
    assert isinstance(sender.peer, PeerIdentity)
    assert sender.max_size >= 64, "the kit's own messages need 64 bytes"
    sizes = _sizes(sender)
    for size in sizes:
        await _exchange(sender, receiver, _message(size))
    messages = [_message(size, seed) for seed in range(3) for size in (0, *sizes, *reversed(sizes))]
    await _exchange(sender, receiver, *messages)
    for borrowed in (bytearray(b"abc"), memoryview(b"abc"), memoryview(b"zabc")[1:]):
        await sender.send(borrowed)
        assert await receiver.receive() == b"abc"
    await sender.send(memoryview(b"12345678").cast("I"))
    assert await receiver.receive() == b"12345678", "bytes are counted, not elements"


async def _check_batches(sender: MessageChannel, receiver: MessageChannel) -> None:
    await sender.send_many([])
    for messages in (
        [_message(number % 7, number) for number in range(1000)],
        [_message(size) for size in _sizes(sender)] * 3,
        [b""] * 50,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_many, messages)
            assert await _receive_batches(receiver, len(messages)) == messages
    await sender.send_many((b"a", bytearray(b"b"), memoryview(b"c")))
    assert await receiver.receive() == b"a"
    assert await _receive_batches(receiver, 2) == [b"b", b"c"]


async def _check_receive_into(sender: MessageChannel, receiver: MessageChannel) -> None:
    for size in _sizes(sender):
        message = _message(size)
        memory = bytearray(b"." * (size + 3))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, message)
            assert await checkpoints(receiver.receive_into, memory) == size
        assert memory == message + b"...", "only the bytes of the message are changed"
    numbers = memoryview(bytearray(16)).cast("I")
    await sender.send_many([b"12345678", b"abcdefgh", b"end"])
    assert await receiver.receive_into(numbers[2:]) == 8
    assert bytes(numbers) == bytes(8) + b"12345678", "bytes are counted, not elements"
    for _ in range(2):
        small = bytearray(b".......")
        error = await raises(MessageTooLarge, receiver.receive_into, small)
        assert (error.size, error.max_size) == (8, 7)
        assert small == b".......", "a message that does not fit changes nothing"
    await cancels(receiver.receive_into, bytearray(8))
    whole = bytearray(8)
    assert await receiver.receive_into(whole) == 8
    assert whole == b"abcdefgh", "a message that did not fit is not lost"
    nonsense: Any
    for nonsense, kind in (
        (b"read only", ValueError),
        (bytearray(), ValueError),
        (memoryview(bytearray(10))[::2], ValueError),
        ("text", TypeError),
    ):
        await raises(kind, receiver.receive_into, nonsense)
    assert await receiver.receive() == b"end"
    await sender.send(_message(64))
    await raises(MessageTooLarge, receiver.receive_into, bytearray(63))
    assert await receiver.receive() == _message(64), "any receiving method returns it"


async def _check_invalid_messages(sender: MessageChannel, receiver: MessageChannel) -> None:
    if sender.max_size < 2**31:
        too_large = bytes(sender.max_size + 1)
        for send, sent in ((sender.send, too_large), (sender.send_many, [b"first", too_large])):
            error = await raises(MessageTooLarge, send, sent)
            assert (error.size, error.max_size) == (len(too_large), sender.max_size)
    nonsense: Any
    for nonsense in ("text", 5, None, [b"list"], memoryview(b"abcdef")[::2]):
        await raises(TypeError, sender.send, nonsense)
    for nonsense in (b"bytes", bytearray(b"bytes"), "text", 5, [b"good", "bad"]):
        await raises(TypeError, sender.send_many, nonsense)
    # Nothing of that was sent.
    await _exchange(sender, receiver, b"still good")


async def _check_checkpoints(sender: MessageChannel, receiver: MessageChannel) -> None:
    await checkpoints(sender.send, b"a")
    await checkpoints(sender.send_many, [b"b", b"c"])
    await checkpoints(sender.send_many, [])
    for _ in range(3):
        await checkpoints(receiver.receive)
    await sender.send_many([b"d", b"e"])
    first = await checkpoints(receiver.receive)
    rest = await checkpoints(receiver.receive_many)
    assert [first, *rest] == [b"d", b"e"]
    await checkpoints(receiver.aclose)
    await checkpoints(receiver.aclose)


async def _check_cancelled_receive(sender: MessageChannel, receiver: MessageChannel) -> None:
    await cancels(receiver.receive)
    await cancels(receiver.receive_many)
    await cancels(receiver.receive_into, bytearray(10))
    await sender.send_many([b"one", b"two"])
    await cancels(receiver.receive)
    assert await receiver.receive() == b"one"
    await cancels(receiver.receive)
    await cancels(receiver.receive_many)
    assert await receiver.receive() == b"two"
    # Cancelled while it waits, before and in the middle of a large message.
    message = _message(min(_LARGE, sender.max_size))
    got: list[bytes] = []

    async def receive_with_cancels() -> None:
        schedules = 0
        while not got:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_after, nursery.cancel_scope, schedules)
                got.append(await receiver.receive())
                nursery.cancel_scope.cancel()
            schedules += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_with_cancels)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        nursery.start_soon(sender.send, message)
    assert got == [message], "a cancelled receive loses nothing"
    await _exchange(sender, receiver, b"after")


async def _cancel_after(scope: trio.CancelScope, schedules: int) -> None:
    for _ in range(schedules):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def _check_busy(sender: MessageChannel, receiver: MessageChannel) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receiver.receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await raises(trio.BusyResourceError, receiver.receive)
        await raises(trio.BusyResourceError, receiver.receive_many)
        await raises(trio.BusyResourceError, receiver.receive_into, bytearray(10))
        nursery.cancel_scope.cancel()
    await _exchange(sender, receiver, b"one at a time")


async def _check_many_senders(sender: MessageChannel, receiver: MessageChannel) -> None:
    large = min(100_000, sender.max_size)

    async def send_some(number: int) -> None:
        for step in range(6):
            message = b"%d %d " % (number, step)
            if step % 3 == 1:
                message += bytes(large - len(message))
            if step % 3 == 2:
                await sender.send_many([message, message])
            else:
                await sender.send(message)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(send_some, number)
        got = [await receiver.receive() for _ in range(80)]
    seen: dict[int, list[int]] = {number: [] for number in range(10)}
    for index, message in enumerate(got):
        number, step = map(int, message.split(b" ")[:2])
        assert len(message) == (large if step % 3 == 1 else 4), "each message is whole"
        if step in seen[number]:
            assert got[index - 1] == message, "no other message comes between those of a batch"
        seen[number].append(step)
    assert all(steps == [0, 1, 2, 2, 3, 4, 5, 5] for steps in seen.values()), "in order"


async def _check_both_directions_at_once(left: MessageChannel, right: MessageChannel) -> None:
    messages = [_message(min(_LARGE, left.max_size, right.max_size), seed) for seed in range(10)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_exchange, left, right, *messages)
        nursery.start_soon(_exchange, right, left, *messages)


async def _check_end(sender: MessageChannel, receiver: MessageChannel) -> None:
    await sender.send_many([b"last", b"", b"words", b""])
    await sender.aclose()
    assert [message async for message in receiver] == [b"last", b"", b"words", b""]
    for _ in range(2):
        await raises(trio.EndOfChannel, receiver.receive)
        await raises(trio.EndOfChannel, receiver.receive_many)
        await raises(trio.EndOfChannel, receiver.receive_into, bytearray(10))


async def _check_closed_peer(sender: MessageChannel, receiver: MessageChannel) -> None:
    await sender.send(b"never read")
    await receiver.aclose()
    for _ in range(2):
        # The system may accept messages until it notices that the peer has closed.
        await raises(trio.BrokenResourceError, _send_all, sender, [b"too late"] * _ENOUGH)
    await raises(trio.BrokenResourceError, sender.send_many, [b"too", b"late"])
    await raises(trio.EndOfChannel, sender.receive)


async def _check_close(channel: MessageChannel, other: MessageChannel) -> None:
    await other.send_many([b"never", b"asked", b"for"])
    assert await channel.receive() == b"never"
    await _receive_batches(channel, 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises, trio.ClosedResourceError, channel.receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await channel.aclose()
    await raises(trio.ClosedResourceError, channel.receive)
    await raises(trio.ClosedResourceError, channel.receive_many)
    await raises(trio.ClosedResourceError, channel.receive_into, bytearray(10))
    await raises(trio.ClosedResourceError, channel.send, b"x")
    await raises(trio.ClosedResourceError, channel.send_many, [])
    await channel.aclose()
    with trio.CancelScope() as scope:
        scope.cancel()
        await other.aclose()
    await raises(trio.ClosedResourceError, other.receive)


async def _check_half_close(sender: MessageChannel, receiver: MessageChannel) -> None:
    if not isinstance(sender, HalfCloseableMessageChannel):
        assert not hasattr(sender, "send_eof")
        return
    await sender.send(b"that was all")
    await checkpoints(sender.send_eof)
    await sender.send_eof()
    await raises(trio.ClosedResourceError, sender.send, b"after the end")
    assert [message async for message in receiver] == [b"that was all"]
    await raises(trio.EndOfChannel, receiver.receive)
    await _exchange(receiver, sender, b"the other direction goes on")


async def _check_unsent_cancelled_send(sender: MessageChannel, receiver: MessageChannel) -> None:
    await cancels(sender.send, b"never sent")
    await cancels(sender.send_many, [b"never sent"])
    await _exchange(sender, receiver, b"as it was")


async def _check_cancelled_send(sender: MessageChannel, receiver: MessageChannel) -> None:
    messages = [_message(min(_LARGE, sender.max_size), seed) for seed in range(_ENOUGH)]
    sent: list[bytes] = []

    async def fill() -> None:
        for message in messages:
            await sender.send(message)
            sent.append(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.start_soon(sender.send, b"never sent")
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    if len(sent) == len(messages):
        return  # the channel never blocks; it may be in memory
    got = [await receiver.receive() for _ in sent]
    assert got == sent, "messages that were sent before arrive"
    try:
        await sender.send(b"more")
    except trio.BrokenResourceError:
        await raises(trio.BrokenResourceError, sender.send_many, [b"more"])
    else:
        assert await receiver.receive() == b"more", "no bytes of a cancelled message arrive"
    await _exchange(receiver, sender, b"the other direction goes on")
    await sender.aclose()
    try:
        async for message in receiver:
            # Windows does not report how much of a cancelled message it accepted.
            assert message == messages[len(sent)]
    except trio.BrokenResourceError:
        pass  # a part of the cancelled message
