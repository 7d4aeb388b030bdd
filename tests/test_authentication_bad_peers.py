"""The errors for peers that violate the handshake, with both drivers."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import AuthenticationFailed
from ipcpipes.authentication.challenge import Side

from .authenticating import (
    act,
    authenticate,
    channel_over,
    each_driver,
    each_kind,
    each_side,
    handshake,
    messages,
    other,
    pair_with,
    refusal,
)
from .children import SECONDS
from .pairs import receive_exactly


@each_driver
async def test_recorded_client_is_refused(driver: str) -> None:
    hello, _, proof = messages()

    async def replay(stream: Any) -> None:
        await stream.send_all(hello)
        await receive_exactly(stream, 72)
        await stream.send_all(proof)

    assert "its proof is wrong" in await refusal("server", driver, replay)


@each_driver
async def test_recorded_server_is_refused(driver: str) -> None:
    async def replay(stream: Any) -> None:
        await receive_exactly(stream, 40)
        await stream.send_all(messages()[1])

    assert "its proof is wrong" in await refusal("client", driver, replay)


@each_driver
async def test_servers_own_proof_sent_back_is_refused(driver: str) -> None:
    async def reflect(stream: Any) -> None:
        await stream.send_all(messages()[0])
        answer = await receive_exactly(stream, 72)
        await stream.send_all(answer[40:])

    assert "its proof is wrong" in await refusal("server", driver, reflect)


@each_driver
async def test_server_that_echoes_is_refused(driver: str) -> None:
    async def echo(stream: Any) -> None:
        while data := await stream.receive_some():
            await stream.send_all(data)

    text = await refusal("client", driver, echo, within=math.inf)
    assert "as this end; one has to be the client, the other the server" in text


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
    # test_authentication_challenge.py checks each bit. The bytes after the beginning of a client's
    # hello are random; if they change, its proof is for other bytes.
    for place in (*range(0, size, 3), size - 1):

        def change(count: int, message: bytes, place: int = place) -> bytes:
            if count != number:
                return message
            return message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]

        peer = partial(act, other(side), alter=change)
        if (side, number) == ("server", 0) and place >= 8:
            assert "closed the connection" in await refusal(side, driver, peer)
        else:
            text = await refusal(side, driver, peer)
            # A server tells a client that did not begin with the hello that it requires a key.
            assert "do not belong to" in text or "proof is wrong" in text or "closed the" in text


@each_driver
@pytest.mark.parametrize(("side", "number", "size"), CHANGED)
async def test_end_after_any_byte_fails_the_handshake(
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
        assert f"it closed the connection when {count} of {size} bytes" in text


@each_kind
@each_driver
@each_side
async def test_closed_peer_fails_the_handshake(side: Side, driver: str, kind: str) -> None:
    end, peer = await pair_with(side, driver, kind)
    async with end:
        await peer.aclose()
        with pytest.raises(AuthenticationFailed, match="closed the connection when 0 of "):
            await authenticate(side, end)


@each_driver
@each_side
async def test_other_protocols_are_refused_at_their_first_bytes(side: Side, driver: str) -> None:
    end, peer = await pair_with(side, driver)
    async with end, peer:
        await peer.send_all(b"HTTP")
        with trio.fail_after(SECONDS):
            with pytest.raises(AuthenticationFailed, match="sent 4 bytes that do not belong"):
                await authenticate(side, end, within=math.inf)


@each_kind
@each_side
async def test_silent_peer_times_out(
    side: Side, kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    end, peer = await pair_with(side, "trio", kind)
    async with end, peer:
        start = trio.current_time()
        with pytest.raises(AuthenticationFailed, match=r"after 10 s, 0 of \d+ bytes"):
            await authenticate(side, end)
        assert trio.current_time() - start == pytest.approx(10)


@each_side
async def test_slow_peer_times_out(side: Side, autojump_clock: trio.testing.MockClock) -> None:
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
async def test_peer_that_does_not_receive_times_out(
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
async def test_silent_peer_times_out_in_a_thread(side: Side, kind: str) -> None:
    end, peer = await pair_with(side, "blocking", kind)
    async with end, peer:
        for seconds in (0.05, 0):
            with trio.fail_after(SECONDS):
                with pytest.raises(AuthenticationFailed, match=rf"after {seconds} s, 0 of ") as it:
                    await authenticate(side, end, within=seconds)
            assert not isinstance(it.value, TimeoutError)


@each_driver
async def test_channel_peer_that_ends_early_fails_the_handshake(driver: str) -> None:
    end, peer = await pair_with("server", driver)
    async with end:
        await peer.send_all(b"IPAC1")
        await peer.aclose()
        with pytest.raises(AuthenticationFailed, match="it closed the connection when 5 of 40"):
            await authenticate("server", channel_over(end))
