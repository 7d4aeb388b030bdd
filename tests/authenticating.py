"""Ends that authenticate, and peers that violate the handshake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import blocking
from ipcpipes.authentication.challenge import Handshake, Side, derive_key
from ipcpipes.testing import unique_endpoint

from . import drivers
from .channels import has_native
from .children import SECONDS

KEY = b"the secret of these tests, 16+"
OTHER_KEY = b"the secret of another server..."
DRIVERS: dict[str, Any] = {"trio": ipcpipes, "blocking": drivers}
SIDES: tuple[Side, Side] = ("client", "server")
FRAMINGS = {"framed": ipcpipes.LengthPrefixed(), "native": ipcpipes.NATIVE}
KINDS = ["stream", "framed", pytest.param("native", marks=has_native)]

each_driver = pytest.mark.parametrize("driver", DRIVERS)
each_side = pytest.mark.parametrize("side", SIDES)
each_kind = pytest.mark.parametrize("kind", KINDS)


def other(side: Side) -> Side:
    return "server" if side == "client" else "client"


async def pair(kind: str = "stream", client: str = "trio", server: str = "trio") -> dict[Side, Any]:
    """The two ends of a connection, each of the driver of that name."""
    messages = "" if kind == "stream" else "_messages"
    options = {} if kind == "stream" else {"framing": FRAMINGS[kind]}
    listen = getattr(DRIVERS[server], f"listen{messages}")
    connect = getattr(DRIVERS[client], f"connect{messages}")
    async with await listen(unique_endpoint(), backlog=1, **options) as listener:
        left = await connect(listener.endpoint, **options)
        return {"client": left, "server": await listener.accept()}


async def pair_with(side: Side, driver: str, kind: str = "stream") -> tuple[Any, Any]:
    """(the end on that side with that driver, its peer under trio)."""
    ends = await pair(kind, **{side: driver, other(side): "trio"})
    return ends[side], ends[other(side)]


async def authenticate(side: Side, end: Any, authkey: Any = KEY, **options: Any) -> None:
    """Calls the driver's function for that side."""
    name = f"authenticate_as_{side}"
    if isinstance(end, (drivers.TrioStream, drivers.TrioChannel)):
        call = partial(getattr(blocking, name), end.blocking, authkey, **options)
        await drivers.in_thread(call)
    else:
        await getattr(ipcpipes, name)(end, authkey, **options)


def handshake(side: Side, authkey: bytes = KEY, where: object = None) -> Handshake:
    return Handshake(side, derive_key(authkey), where)


def messages(authkey: bytes = KEY) -> tuple[bytes, bytes, bytes]:
    """The bytes on the wire between two ends that have that key."""
    client, server = handshake("client", authkey), handshake("server", authkey)
    hello = client.outgoing
    server.receive(hello)
    answer = server.outgoing
    client.receive(answer)
    proof = client.outgoing
    server.receive(proof)
    assert (client.missing, server.missing, server.outgoing) == (0, 0, b"")
    return hello, answer, proof


Alter = Callable[[int, bytes], bytes]


async def act(side: Side, stream: trio.abc.Stream, alter: Alter, authkey: bytes = KEY) -> None:
    """A peer that knows the key, and sends ``alter(number, message)`` in place of its messages,
    which count from 0. It ends with what it says then, and closes.
    """
    mine = handshake(side, authkey)
    number = 0
    async with stream:
        while True:
            if mine.outgoing:
                await stream.send_all(alter(number, mine.outgoing))
                number += 1
            if not mine.missing:
                return
            data = await stream.receive_some(mine.missing)
            if not data:
                return
            mine.receive(data)


async def refusal(
    side: Side, driver: str, peer: Callable[[Any], Awaitable[object]], **options: Any
) -> str:
    """The text of the error with which the end on that side refuses this peer."""
    end, other_end = await pair_with(side, driver)

    async def run() -> None:
        try:
            await peer(other_end)
        except (trio.BrokenResourceError, ipcpipes.AuthenticationFailed):
            pass  # this end has closed
        finally:
            await other_end.aclose()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async with end:
                with pytest.raises(ipcpipes.AuthenticationFailed) as caught:
                    await authenticate(side, end, **options)
                text = str(caught.value)
                assert text.startswith(f"the {other(side)} of named endpoint ")
                assert "\n" not in text
    return text


async def both(
    ends: dict[Side, Any], client_key: bytes = KEY, server_key: bytes = KEY, **options: Any
) -> dict[Side, Exception | None]:
    """The errors of both ends. An end that refuses closes, as applications do."""
    said: dict[Side, Exception | None] = {}

    async def run(side: Side, key: bytes) -> None:
        try:
            await authenticate(side, ends[side], key, **options)
            said[side] = None
        except ipcpipes.AuthenticationFailed as error:
            said[side] = error
            await ends[side].aclose()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, "client", client_key)
            nursery.start_soon(run, "server", server_key)
    return said


def channel_over(end: Any, framing: Any = None) -> Any:
    """A channel over that stream, of the same driver."""
    if isinstance(end, drivers.TrioStream):
        return drivers.TrioChannel(blocking.MessageChannel(end.blocking, framing))
    return ipcpipes.MessageChannel(end, framing)
