"""Authentication over connections, with both drivers: which peers are accepted."""

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
    both,
    channel_over,
    each_driver,
    each_kind,
    each_side,
    handshake,
    other,
    pair,
    pair_with,
)
from .children import SECONDS
from .pairs import receive_exactly

each_pair = pytest.mark.parametrize(
    ("client", "server"), list(itertools.product(["trio", "blocking"], repeat=2))
)


@each_pair
@each_kind
async def test_same_key_is_accepted_and_no_data_is_lost(
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
async def test_different_keys_are_refused_at_both_ends(kind: str, client: str, server: str) -> None:
    ends = await pair(kind, client, server)
    async with ends["client"], ends["server"]:
        said = await both(ends, KEY, OTHER_KEY)
        assert "its proof is wrong; give both ends the same authkey" in str(said["client"])
        assert "it closed the connection when 0 of 32 bytes" in str(said["server"])
        assert "has another authkey" in str(said["server"])


@each_kind
@each_driver
@each_side
async def test_failed_handshake_does_not_close_the_stream(
    side: Side, driver: str, kind: str
) -> None:
    end, peer = await pair_with(side, driver, kind)
    async with end, peer:
        send = peer.send_all if kind == "stream" else peer.send
        await send(b"something else")
        with pytest.raises(AuthenticationFailed, match="do not belong to this handshake"):
            await authenticate(side, end)
        send = end.send_all if kind == "stream" else end.send
        await send(b"goodbye")


# One accepts everything at once, the other one only bytes that the peer is receiving.
@pytest.mark.parametrize(
    "make", [trio.testing.memory_stream_pair, trio.testing.lockstep_stream_pair]
)
async def test_handshake_over_foreign_streams(make: Callable[[], tuple[Any, Any]]) -> None:
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
    """With the fewest methods that a blocking stream may have."""

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
async def test_handshake_one_byte_at_a_time(client: str, server: str) -> None:
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
async def test_data_after_the_handshake_is_not_read(side: Side, driver: str) -> None:
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


@each_side
async def test_handshake_cancelled_at_any_step_leaves_no_task(side: Side) -> None:
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
            # The cancelled end closes, so that the other end does not wait.
            await end.aclose()
        if done:
            return


@each_kind
async def test_cancelled_handshake_sends_nothing(kind: str) -> None:
    ends = await pair(kind)
    async with ends["client"], ends["server"]:
        with trio.CancelScope() as scope:
            scope.cancel()
            for side, end in ends.items():
                with pytest.raises(trio.Cancelled):
                    await authenticate(side, end)
        # Then they can still authenticate each other.
        async with trio.open_nursery() as nursery:
            for side, end in ends.items():

                async def run(side: Side = side, end: Any = end) -> None:
                    with trio.testing.assert_checkpoints():
                        await authenticate(side, end)

                nursery.start_soon(run)


@each_driver
@each_kind
@each_side
async def test_closing_during_the_handshake_raises_closed(
    side: Side, kind: str, driver: str
) -> None:
    end, peer = await pair_with(side, driver, kind)
    async with end, peer:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await authenticate(side, end, within=SECONDS)

            nursery.start_soon(run)
            if side == "client":
                # It has sent its hello, and waits.
                peer = getattr(peer, "stream", peer)
                await (peer.receive if kind == "native" else peer.receive_some)()
            else:
                await trio.testing.wait_all_tasks_blocked()
            await end.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await authenticate(side, end)


async def test_second_task_on_the_stream_is_busy() -> None:
    end, peer = await pair_with("server", "trio")
    async with end, peer, trio.open_nursery() as nursery:
        nursery.start_soon(end.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await authenticate("server", end)
        nursery.cancel_scope.cancel()


@each_driver
async def test_handshake_works_with_any_framing(driver: str) -> None:
    """The handshake runs below the framing, so the framing need not carry arbitrary bytes."""
    for framing in (
        ipcpipes.Lines(),
        ipcpipes.LengthPrefixed(max_size=39),
        ipcpipes.ContentLength(),
    ):
        ends = await pair("stream", driver, driver)
        # One end may use a channel, and the other one a stream.
        ends["client"] = channel_over(ends["client"], framing)
        async with ends["client"], ends["server"]:
            assert await both(ends) == {"client": None, "server": None}
            channel = channel_over(ends["server"], framing)
            await channel.send(b"hello")
            assert await ends["client"].receive() == b"hello"


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
async def test_wrong_arguments_are_refused_before_sending(
    side: Side, driver: str, key: Any, within: Any, error: type[Exception]
) -> None:
    end, peer = await pair_with(side, driver)
    async with peer:
        async with end:
            with pytest.raises(error):
                await authenticate(side, end, key, within=within)
        assert await peer.receive_some() == b""


@each_side
async def test_other_objects_than_streams_are_refused(side: Side) -> None:
    nothing: Any = object()
    with pytest.raises(TypeError, match=r"must be a trio.abc.Stream or a message channel, not"):
        await getattr(ipcpipes, f"authenticate_as_{side}")(nothing, KEY)
    with pytest.raises(TypeError, match=r"must be a stream or a message channel, not <object"):
        getattr(blocking, f"authenticate_as_{side}")(nothing, KEY)


@pytest.mark.parametrize(
    "authkey", [KEY, bytearray(KEY), memoryview(KEY)], ids=lambda key: type(key).__name__
)
async def test_any_long_enough_bytes_are_a_key(authkey: Any) -> None:
    ends = await pair()
    async with ends["client"], ends["server"]:
        assert await both(ends, authkey, KEY) == {"client": None, "server": None}


@each_driver
@each_side
async def test_key_is_not_in_errors_and_logs(
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
    assert {frame.name for frame in ours} >= {f"authenticate_as_{side}", "run_handshake"}
    shown = [str(frame.locals) for frame in ours]
    shown += [str(caught.value), repr(caught.value), repr(caught.value.__dict__), caplog.text]
    shown += [repr(vars(handshake(side)))]
    for text in shown:
        assert KEY.decode() not in text
        assert KEY.hex() not in text


async def test_server_logs_refused_clients_and_serves_the_next(
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
