"""``listen(authkey=)``: ``accept`` returns only clients that have proved themselves."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, AuthenticationFailed, Endpoint, LengthPrefixed, Lines, blocking
from ipcpipes.authentication import listener as trio_listener
from ipcpipes.authentication.challenge import REFUSAL
from ipcpipes.blocking.authentication import listener as blocking_listener

from . import drivers
from .authenticating import KEY, OTHER_KEY
from .channels import has_native
from .drivers import in_thread

SECONDS = 8  # less than a silent client has
OPTIONS: dict[str, dict[str, Any]] = {
    "stream": {},
    "framed": {"framing": LengthPrefixed()},
    "short": {"framing": LengthPrefixed(2)},
    "lines": {"framing": Lines()},
    "native": {"framing": NATIVE},
}
each_kind = pytest.mark.parametrize(
    "kind", [*list(OPTIONS)[:4], pytest.param("native", marks=has_native)]
)
each_pair = pytest.mark.parametrize(
    ("doors", "clients"),
    [(ipcpipes, ipcpipes), (ipcpipes, drivers), (drivers, ipcpipes), (drivers, drivers)],
    ids=["trio-trio", "trio-blocking", "blocking-trio", "blocking-blocking"],
)
each_doors = pytest.mark.parametrize("doors", [ipcpipes, drivers], ids=["trio", "blocking"])


async def listen(doors: Any, endpoint: Endpoint, kind: str) -> Any:
    name = "listen" if kind == "stream" else "listen_messages"
    return await getattr(doors, name)(endpoint, authkey=KEY, **OPTIONS[kind])


async def connect(doors: Any, endpoint: Endpoint, kind: str, **options: Any) -> Any:
    name = "connect" if kind == "stream" else "connect_messages"
    return await getattr(doors, name)(endpoint, **OPTIONS[kind], **options)


async def say(end: Any, kind: str, data: bytes) -> None:
    await (end.send_all if kind == "stream" else end.send)(data)


async def hear(end: Any, kind: str) -> bytes:
    data: bytes = await (end.receive_some if kind == "stream" else end.receive)()
    return data


@each_pair
@each_kind
async def test_client_with_key_is_accepted_without_waiting(
    endpoint: Endpoint, doors: Any, clients: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ipcpipes")
    with trio.fail_after(SECONDS):
        async with await listen(doors, endpoint, kind) as listener:
            silent = [await connect(clients, endpoint, kind) for _ in range(3)]
            said: list[BaseException] = []

            async def wrong() -> None:
                with pytest.raises(AuthenticationFailed, match="its proof is wrong") as caught:
                    await connect(clients, endpoint, kind, authkey=OTHER_KEY)
                said.append(caught.value)

            async def right() -> None:
                async with await connect(clients, endpoint, kind, authkey=KEY) as client:
                    await say(client, kind, b"hello")
                    assert await hear(client, kind) == b"HELLO"

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wrong)
                for _ in range(3):
                    nursery.start_soon(right)
                for _ in range(3):
                    async with await listener.accept() as server:
                        await say(server, kind, (await hear(server, kind)).upper())
                # The server's proof tells the client with the wrong key, once a task accepts.
                while not said or listener.connection_count > 3:
                    with trio.move_on_after(0.1):
                        await listener.accept()
            assert len(said) == 1
            assert listener.connection_count == 3
            for one in silent:
                await one.aclose()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "turned away" in caplog.text
    assert KEY.decode() not in caplog.text


@each_pair
@each_kind
async def test_client_without_key_gets_a_clear_error(
    endpoint: Endpoint, doors: Any, clients: Any, kind: str
) -> None:
    with trio.fail_after(SECONDS):
        async with await listen(doors, endpoint, kind) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.accept)
                client = await connect(clients, endpoint, kind)
                async with client:
                    await say(client, kind, b"x" * 50)
                    if kind == "stream":
                        assert await hear(client, kind) == REFUSAL
                    else:
                        for _ in range(2):
                            with pytest.raises(
                                trio.BrokenResourceError, match="requires an authkey"
                            ) as caught:
                                await client.receive()
                            assert isinstance(caught.value.__cause__, AuthenticationFailed)
                nursery.cancel_scope.cancel()


@each_doors
@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("width", [4, 8])
async def test_a_server_without_a_key_says_that_the_client_has_one(
    endpoint: Endpoint, doors: Any, width: Any, byteorder: Any
) -> None:
    framing = LengthPrefixed(width, byteorder)
    listener = await doors.listen_messages(endpoint, framing=framing)

    async def connect_with_key() -> None:
        with pytest.raises(AuthenticationFailed):
            await ipcpipes.connect_messages(endpoint, framing=framing, authkey=KEY)

    with trio.fail_after(SECONDS):
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(connect_with_key)
            async with await listener.accept() as channel:
                for _ in range(2):
                    with pytest.raises(
                        trio.BrokenResourceError, match=r"too large: .* client with authkey=, and"
                    ):
                        await channel.receive()


@each_doors
@each_kind
async def test_silent_client_is_turned_away_in_time(
    endpoint: Endpoint, doors: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (trio_listener, blocking_listener):
        monkeypatch.setattr(module, "DEFAULT_SECONDS", 0.2)
    with trio.fail_after(SECONDS):
        async with await listen(doors, endpoint, kind) as listener:
            async with await connect(ipcpipes, endpoint, kind) as client:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(listener.accept)
                    if kind == "stream":
                        assert await hear(client, kind) == REFUSAL
                        assert await hear(client, kind) == b""
                    else:
                        with pytest.raises(trio.BrokenResourceError, match="requires an authkey"):
                            await client.receive()
                    nursery.cancel_scope.cancel()
            assert listener.connection_count == 0


@each_doors
@each_kind
async def test_cancelled_accept_loses_no_client(endpoint: Endpoint, doors: Any, kind: str) -> None:
    """The next call continues the handshake at any point."""
    with trio.fail_after(60):
        async with await listen(doors, endpoint, kind) as listener:
            async with trio.open_nursery() as nursery:
                clients = []

                async def client() -> None:
                    clients.append(await connect(ipcpipes, endpoint, kind, authkey=KEY))

                for _ in range(5):
                    nursery.start_soon(client)
                servers: list[Any] = []
                while len(servers) < 5:
                    with trio.move_on_after(0.002):
                        servers.append(await listener.accept())
            for one in (*clients, *servers):
                await one.aclose()


@each_doors
@each_kind
async def test_closing_ends_unfinished_handshakes(
    endpoint: Endpoint, doors: Any, kind: str
) -> None:
    with trio.fail_after(SECONDS):
        async with await listen(doors, endpoint, kind) as listener:
            async with await connect(ipcpipes, endpoint, kind) as client:

                async def accept() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await listener.accept()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(accept)
                    while not listener.connection_count:
                        await trio.sleep(0.01)
                    await listener.aclose()
                with pytest.raises(trio.ClosedResourceError):
                    await listener.accept()
                if kind == "stream":
                    assert await client.receive_some() == b""
                else:
                    with pytest.raises(trio.EndOfChannel):
                        await client.receive()
            assert listener.connection_count == 0


async def test_closing_closes_a_client_accepted_just_now(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, authkey=KEY) as listener:
        below: Any = listener
        accept = below._below.accept

        async def late() -> Any:
            connection = await accept()
            below._below.accept = accept
            await listener.aclose()
            return connection

        below._below.accept = late
        async with await ipcpipes.connect(endpoint) as client:
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()
            with trio.fail_after(SECONDS):
                assert await client.receive_some() == b""


async def test_second_accept_is_busy(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, authkey=KEY) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="accepting"):
                await listener.accept()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_accept_times_out(endpoint: Endpoint, timeout: float) -> None:
    with (
        blocking.listen(endpoint, authkey=KEY) as listener,
        blocking.connect(endpoint),
    ):
        for _ in range(2):
            text = f"no client authenticated itself within {timeout:g} s"
            with pytest.raises(TimeoutError, match=text):
                listener.accept(timeout=timeout)
        assert listener.connection_count == 1


async def test_clients_are_served_one_after_the_other(endpoint: Endpoint) -> None:
    """With ``for``, as in a server without threads."""

    def serve() -> None:
        for stream in listener:
            with stream:
                stream.send_all(b"in")

    with blocking.listen(endpoint, authkey=KEY) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, serve)
            with blocking.connect(endpoint):  # sends nothing
                for _ in range(3):
                    async with await ipcpipes.connect(endpoint, authkey=KEY) as client:
                        assert await client.receive_some() == b"in"
            listener.close()


@pytest.mark.parametrize("direction", ["send", "receive"])
async def test_authkey_needs_both_directions(endpoint: Endpoint, direction: Any) -> None:
    with pytest.raises(ValueError, match="authkey needs direction='duplex'"):
        await ipcpipes.listen(endpoint, direction=direction, authkey=KEY)
    with pytest.raises(ValueError, match="authkey needs direction='duplex'"):
        blocking.listen(endpoint, direction=direction, authkey=KEY)


async def test_bad_key_is_refused_before_listening(endpoint: Endpoint) -> None:
    short = b"short"
    with pytest.raises(ValueError, match="authkey must"):
        await ipcpipes.listen(endpoint, authkey=short)
    with pytest.raises(ValueError, match="authkey must"):
        await ipcpipes.listen_messages(endpoint, authkey=short)
    with pytest.raises(ValueError, match="authkey must"):
        blocking.listen(endpoint, authkey=short)
    with pytest.raises(ValueError, match="authkey must"):
        blocking.listen_messages(endpoint, authkey=short)


def test_alarm_during_a_handshake_ends_accept(endpoint: Endpoint) -> None:
    """A handler's TimeoutError is not mistaken for a slice without data."""

    def interrupted(*_: object, **__: object) -> bytes:
        raise TimeoutError("an alarm")

    with blocking.listen(endpoint, authkey=KEY) as listener, blocking.connect(endpoint):
        with pytest.raises(TimeoutError, match="within"):
            listener.accept(timeout=0.05)
        handshakes: Any = listener
        next(iter(handshakes._candidates)).connection.receive_some = interrupted
        with pytest.raises(TimeoutError, match="an alarm"):
            listener.accept(timeout=5)


def test_alarm_ends_accept(endpoint: Endpoint) -> None:
    if sys.platform == "win32":
        pytest.skip("a signal does not end a wait there")

    def handler(*_: object) -> None:
        raise TimeoutError("an alarm")

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        with blocking.listen(endpoint, authkey=KEY) as listener, blocking.connect(endpoint):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(TimeoutError, match="an alarm"):
                listener.accept()
    finally:
        signal.signal(signal.SIGALRM, previous)
