"""Authentication over connections, under both drivers: who is let in, and who is not."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import AuthenticationFailed, blocking
from ipcpipes.authentication.challenge import Side
from ipcpipes.testing import unique_endpoint

from . import drivers
from .authenticating import (
    KEY,
    OTHER_KEY,
    act,
    authenticate,
    each_driver,
    each_kind,
    each_side,
    handshake,
    messages,
    other,
    pair,
    pair_with,
    refusal,
)
from .children import SECONDS
from .pairs import receive_exactly

each_pair = pytest.mark.parametrize(
    ("client", "server"), list(itertools.product(["trio", "blocking"], repeat=2))
)


async def both(
    ends: dict[Side, Any], client_key: bytes = KEY, server_key: bytes = KEY, **options: Any
) -> dict[Side, Exception | None]:
    """What each of them says. One that refuses closes, as applications do."""
    said: dict[Side, Exception | None] = {}

    async def run(side: Side, key: bytes) -> None:
        try:
            await authenticate(side, ends[side], key, **options)
            said[side] = None
        except AuthenticationFailed as error:
            said[side] = error
            await ends[side].aclose()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, "client", client_key)
            nursery.start_soon(run, "server", server_key)
    return said


@each_pair
@each_kind
async def test_the_same_key_is_let_in_and_nothing_is_lost_behind(
    kind: str, client: str, server: str
) -> None:
    ends = await pair(kind, client, server)
    async with ends["client"], ends["server"]:
        assert await both(ends) == {"client": None, "server": None}
        for end, peer in itertools.permutations(ends.values()):
            if kind == "stream":
                await end.send_all(b"hello")
                assert await receive_exactly(peer, 5) == b"hello"
            else:
                await end.send_many([b"hello", b""])
                assert [await peer.receive(), await peer.receive()] == [b"hello", b""]


@each_pair
@each_kind
async def test_another_key_is_refused_at_both_ends(kind: str, client: str, server: str) -> None:
    ends = await pair(kind, client, server)
    async with ends["client"], ends["server"]:
        said = await both(ends, KEY, OTHER_KEY)
        assert "its proof is wrong; give both ends the same authkey" in str(said["client"])
        assert "it ended the connection when 0 of 32 bytes" in str(said["server"])
        assert "has another authkey" in str(said["server"])


@each_kind
@each_driver
@each_side
async def test_it_does_not_close_what_it_refuses(side: Side, driver: str, kind: str) -> None:
    end, peer = await pair_with(side, driver, kind)
    async with end, peer:
        send = peer.send_all if kind == "stream" else peer.send
        await send(b"something else")
        with pytest.raises(AuthenticationFailed, match=r"b'somethin', is no part of"):
            await authenticate(side, end)
        send = end.send_all if kind == "stream" else end.send
        await send(b"goodbye")


def channel_over(end: Any, framing: Any = None) -> Any:
    """A channel over that stream, of the same driver."""
    if isinstance(end, drivers.TrioStream):
        return drivers.TrioChannel(blocking.MessageChannel(end.blocking, framing))
    return ipcpipes.MessageChannel(end, framing)


# The one takes everything at once, the other only what is being received.
@pytest.mark.parametrize(
    "make", [trio.testing.memory_stream_pair, trio.testing.lockstep_stream_pair]
)
async def test_over_streams_of_trio(make: Callable[[], tuple[Any, Any]]) -> None:
    left, right = make()
    ends: dict[Side, Any] = {"client": left, "server": right}
    assert await both(ends) == {"client": None, "server": None}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.send_all, b"hello")
        assert await right.receive_some() == b"hello"


class OneByteAtATime(trio.abc.Stream):
    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        for byte in bytes(data):
            await self._stream.send_all(bytes([byte]))

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(1)

    async def aclose(self) -> None:
        await self._stream.aclose()


class BlockingOneByteAtATime:
    """With the least that a blocking stream has."""

    def __init__(self, stream: blocking.Stream) -> None:
        self._stream = stream

    def send_all(
        self, data: bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        for byte in bytes(data):
            self._stream.send_all(bytes([byte]), timeout=timeout)

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        return self._stream.receive_some(1, timeout=timeout)

    def close(self) -> None:
        self._stream.close()


@each_pair
async def test_one_byte_at_a_time(client: str, server: str) -> None:
    ends = await pair("stream", client, server)
    async with ends["client"], ends["server"]:
        slow: dict[Side, Any] = {}
        for side, end in ends.items():
            if isinstance(end, drivers.TrioStream):
                end.blocking = BlockingOneByteAtATime(end.blocking)  # type: ignore[assignment]
                slow[side] = end
            else:
                slow[side] = OneByteAtATime(end)
        assert await both(slow) == {"client": None, "server": None}


@each_driver
@each_side
async def test_what_comes_right_behind_the_handshake_is_not_read(side: Side, driver: str) -> None:
    end, peer = await pair_with(side, driver)
    last = 1 if side == "server" else 0

    def with_more(number: int, message: bytes) -> bytes:
        return message + b"and more" if number == last else message

    async with end:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(act, other(side), peer, with_more)
            await authenticate(side, end)
        assert await receive_exactly(end, 8) == b"and more"
        assert await end.receive_some() == b""


@each_driver
async def test_a_recorded_client_is_refused(driver: str) -> None:
    hello, _, proof = messages()

    async def replay(stream: Any) -> None:
        await stream.send_all(hello)
        await receive_exactly(stream, 72)
        await stream.send_all(proof)

    assert "its proof is wrong" in await refusal("server", driver, replay)


@each_driver
async def test_a_recorded_server_is_refused(driver: str) -> None:
    async def replay(stream: Any) -> None:
        await receive_exactly(stream, 40)
        await stream.send_all(messages()[1])

    assert "its proof is wrong" in await refusal("client", driver, replay)


@each_driver
async def test_a_client_that_sends_the_proof_of_the_server_back_is_refused(driver: str) -> None:
    async def reflect(stream: Any) -> None:
        await stream.send_all(messages()[0])
        answer = await receive_exactly(stream, 72)
        await stream.send_all(answer[40:])

    assert "its proof is wrong" in await refusal("server", driver, reflect)


@each_driver
async def test_a_server_that_sends_back_what_it_gets_is_refused(driver: str) -> None:
    async def echo(stream: Any) -> None:
        while data := await stream.receive_some():
            await stream.send_all(data)

    text = await refusal("client", driver, echo, within=math.inf)
    assert "as this end does; one has to be the client, the other the server" in text


@each_driver
async def test_two_clients_refuse_each_other(driver: str) -> None:
    end, peer = await pair_with("client", driver)
    async with end, peer:
        async with trio.open_nursery() as nursery:
            for one in (end, peer):

                async def refused(one: Any = one) -> None:
                    with pytest.raises(AuthenticationFailed, match="one has to be the client"):
                        await authenticate("client", one, within=math.inf)

                nursery.start_soon(refused)


CHANGED = [("server", 0, 40), ("client", 0, 72), ("server", 1, 32)]


@each_driver
@pytest.mark.parametrize(("side", "number", "size"), CHANGED)
async def test_any_changed_byte_is_refused(side: Side, number: int, size: int, driver: str) -> None:
    # The bits are looked at one by one in test_authentication_challenge.py. What is behind the
    # greeting of a client is random, and its proof is then for something else.
    for place in (*range(0, size, 3), size - 1):

        def change(count: int, message: bytes, place: int = place) -> bytes:
            if count != number:
                return message
            return message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]

        peer = partial(act, other(side), alter=change)
        if (side, number) == ("server", 0) and place >= 8:
            assert "ended the connection" in await refusal(side, driver, peer)
        else:
            text = await refusal(side, driver, peer)
            assert "no part of" in text or "proof is wrong" in text


@each_driver
@pytest.mark.parametrize(("side", "number", "size"), CHANGED)
async def test_an_end_after_any_byte_is_a_refusal(
    side: Side, number: int, size: int, driver: str
) -> None:
    for count in range(size):

        async def leave(stream: Any, count: int = count) -> None:
            if number:
                mine = handshake(other(side))
                await stream.send_all(mine.outgoing)
                mine.receive(await receive_exactly(stream, 72))
                await stream.send_all(mine.outgoing[:count])
            else:
                await stream.send_all(messages()[0 if side == "server" else 1][:count])
                if side == "client":
                    # With bytes left to read, the system may say "broken", and drop what was sent.
                    await receive_exactly(stream, 40)

        text = await refusal(side, driver, leave)
        assert f"it ended the connection when {count} of {size} bytes" in text


@each_kind
@each_driver
@each_side
async def test_a_peer_that_has_gone_is_a_refusal(side: Side, driver: str, kind: str) -> None:
    end, peer = await pair_with(side, driver, kind)
    async with end:
        await peer.aclose()
        with pytest.raises(AuthenticationFailed, match="ended the connection when 0 of "):
            await authenticate(side, end)


@each_driver
@each_side
async def test_something_else_is_refused_at_its_first_bytes(side: Side, driver: str) -> None:
    end, peer = await pair_with(side, driver)
    async with end, peer:
        await peer.send_all(b"HTTP")
        with trio.fail_after(SECONDS):
            with pytest.raises(AuthenticationFailed, match="4 bytes that begin with b'HTTP'"):
                await authenticate(side, end, within=math.inf)


@each_kind
@each_side
async def test_a_silent_peer_does_not_hold_one_for_ever(
    side: Side, kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    end, peer = await pair_with(side, "trio", kind)
    async with end, peer:
        start = trio.current_time()
        with pytest.raises(AuthenticationFailed, match=r"after 10 s, 0 of \d+ bytes"):
            await authenticate(side, end)
        assert trio.current_time() - start == pytest.approx(10)


@each_side
async def test_a_peer_that_drips_does_not_either(
    side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    end, peer = await pair_with(side, "trio")
    async with end, peer, trio.open_nursery() as nursery:

        async def drip() -> None:
            for byte in messages()[0 if side == "server" else 1]:
                await peer.send_all(bytes([byte]))
                await trio.sleep(1)

        nursery.start_soon(drip)
        start = trio.current_time()
        with pytest.raises(AuthenticationFailed, match=r"after 4\.5 s, 5 of \d+ bytes"):
            await authenticate(side, end, within=4.5)
        assert trio.current_time() - start == pytest.approx(4.5)
        nursery.cancel_scope.cancel()


@each_side
async def test_a_peer_that_does_not_receive_does_not_either(
    side: Side, autojump_clock: trio.testing.MockClock
) -> None:
    end, peer = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        if side == "server":
            nursery.start_soon(peer.send_all, messages()[0])
        with pytest.raises(AuthenticationFailed, match=r"after 3 s, 0 of (32|72) bytes"):
            await authenticate(side, end, within=3)


@each_kind
@each_side
async def test_a_silent_peer_does_not_hold_a_thread_for_ever(side: Side, kind: str) -> None:
    end, peer = await pair_with(side, "blocking", kind)
    async with end, peer:
        for seconds in (0.05, 0):
            with trio.fail_after(SECONDS):
                with pytest.raises(AuthenticationFailed, match=rf"after {seconds} s, 0 of ") as it:
                    await authenticate(side, end, within=seconds)
            assert not isinstance(it.value, TimeoutError)


@each_side
async def test_cancelled_at_any_step_it_leaves_nothing_behind(side: Side) -> None:
    for steps in itertools.count():
        end, peer = await pair_with(side, "trio")
        done = False
        async with end, peer, trio.open_nursery() as nursery:

            async def run() -> None:
                nonlocal done
                await authenticate(side, end)  # noqa: B023
                done = True

            async def answer() -> None:
                with contextlib.suppress(AuthenticationFailed), trio.fail_after(SECONDS):
                    await authenticate(other(side), peer, within=math.inf)  # noqa: B023

            nursery.start_soon(answer)
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(run)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                cancelled.cancel_scope.cancel()
            # Whoever was cancelled closes; and the other one is not left waiting.
            await end.aclose()
        if done:
            return


@each_kind
async def test_it_is_a_checkpoint_and_sends_nothing_when_cancelled(kind: str) -> None:
    ends = await pair(kind)
    async with ends["client"], ends["server"]:
        with trio.CancelScope() as scope:
            scope.cancel()
            for side, end in ends.items():
                with pytest.raises(trio.Cancelled):
                    await authenticate(side, end)
        # So that they can still authenticate each other.
        async with trio.open_nursery() as nursery:
            for side, end in ends.items():

                async def run(side: Side = side, end: Any = end) -> None:
                    with trio.testing.assert_checkpoints():
                        await authenticate(side, end)

                nursery.start_soon(run)


@each_driver
@each_kind
@each_side
async def test_closing_here_says_closed(side: Side, kind: str, driver: str) -> None:
    end, peer = await pair_with(side, driver, kind)
    async with end, peer:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await authenticate(side, end, within=SECONDS)

            nursery.start_soon(run)
            if side == "client":
                # It has sent its greeting, and waits.
                await (peer.receive_some if kind == "stream" else peer.receive)()
            else:
                await trio.testing.wait_all_tasks_blocked()
            await end.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await authenticate(side, end)


async def test_two_tasks_on_one_stream_are_busy() -> None:
    end, peer = await pair_with("server", "trio")
    async with end, peer, trio.open_nursery() as nursery:
        nursery.start_soon(end.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await authenticate("server", end)
        nursery.cancel_scope.cancel()


@each_driver
@each_side
async def test_over_a_stream_there_and_a_channel_here_is_refused_at_once(
    side: Side, driver: str
) -> None:
    ends = await pair("stream", driver, driver)
    ends[side] = channel_over(ends[side])
    said = await both(ends, within=math.inf)
    # The server gets the first message, and so is the one who knows.
    why = "no part of this" if side == "client" else "no message here (a message of 1,128,353,865 "
    assert why in str(said["server"])
    assert "it ended the connection" in str(said["client"])


@each_driver
async def test_a_framing_that_cannot_carry_it_says_so(driver: str) -> None:
    for framing, error in (
        (ipcpipes.Lines(), ipcpipes.FramingError),
        (ipcpipes.Lines(b"\0"), ipcpipes.FramingError),
        (ipcpipes.LengthPrefixed(max_size=39), ipcpipes.MessageTooLarge),
    ):
        end, peer = await pair_with("client", driver)
        async with end, peer:
            with pytest.raises(error):
                await authenticate("client", channel_over(end, framing))


@each_driver
@each_side
@pytest.mark.parametrize(
    ("key", "within", "error"),
    [
        ("a str of 16 or more", 1, TypeError),
        (b"fifteen bytes..", 1, ValueError),
        (KEY, "1", TypeError),
        (KEY, -1, ValueError),
        (KEY, math.nan, ValueError),
    ],
)
async def test_arguments_that_are_wrong_are_refused_before_anything_is_sent(
    side: Side, driver: str, key: Any, within: Any, error: type[Exception]
) -> None:
    end, peer = await pair_with(side, driver)
    async with peer:
        async with end:
            with pytest.raises(error):
                await authenticate(side, end, key, within=within)
        assert await peer.receive_some() == b""


@each_side
async def test_what_is_no_stream(side: Side) -> None:
    nothing: Any = object()
    with pytest.raises(TypeError, match=r"must be a trio.abc.Stream or a message channel, not"):
        await getattr(ipcpipes, f"authenticate_as_{side}")(nothing, KEY)
    with pytest.raises(TypeError, match=r"must be a stream or a message channel, not <object"):
        getattr(blocking, f"authenticate_as_{side}")(nothing, KEY)


@pytest.mark.parametrize(
    "authkey", [KEY, bytearray(KEY), memoryview(KEY)], ids=lambda key: type(key).__name__
)
async def test_any_bytes_are_a_key(authkey: Any) -> None:
    ends = await pair()
    async with ends["client"], ends["server"]:
        assert await both(ends, authkey, KEY) == {"client": None, "server": None}


@each_driver
@each_side
async def test_the_key_is_never_shown(
    side: Side, driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    ends = await pair_with(side, driver)
    caplog.set_level(logging.DEBUG)
    async with ends[0], ends[1]:
        peer = partial(act, other(side), ends[1], lambda _, message: message, OTHER_KEY)
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                with contextlib.suppress(AuthenticationFailed):
                    await peer()

            nursery.start_soon(run)
            with pytest.raises(AuthenticationFailed) as caught:
                await authenticate(side, ends[0])
            await ends[0].aclose()
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    package = str(Path(ipcpipes.__file__).parent)
    ours = [frame for frame in told.stack if frame.filename.startswith(package)]
    assert {frame.name for frame in ours} >= {f"authenticate_as_{side}", "authenticate"}
    shown = [str(frame.locals) for frame in ours]
    shown += [str(caught.value), repr(caught.value), repr(caught.value.__dict__), caplog.text]
    shown += [repr(vars(handshake(side)))]
    for text in shown:
        assert KEY.decode() not in text
        assert KEY.hex() not in text


async def test_a_server_logs_who_was_refused_and_serves_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served: list[bytes] = []

    async def handler(stream: ipcpipes.Stream) -> None:
        await ipcpipes.authenticate_as_server(stream, KEY)
        served.append(await receive_exactly(stream, 2))

    async with trio.open_nursery() as nursery:
        listener = await nursery.start(ipcpipes.serve, handler, unique_endpoint())
        async with await ipcpipes.connect(listener.endpoint) as stream:
            with pytest.raises(AuthenticationFailed):
                await ipcpipes.authenticate_as_client(stream, OTHER_KEY)
        async with await ipcpipes.connect(listener.endpoint) as stream:
            await ipcpipes.authenticate_as_client(stream, KEY)
            await stream.send_all(b"hi")
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
    assert served == [b"hi"]
    (record,) = caplog.records
    assert "the client of named endpoint" in caplog.text
    assert KEY.decode() not in caplog.text
    assert record.name == "ipcpipes"
