"""authkey= of every function: peers without it get nothing, and others are served meanwhile."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import AuthenticationFailed, Endpoint, blocking, rpc
from ipcpipes.authentication.challenge import DEFAULT_SECONDS, REFUSAL
from ipcpipes.blocking.authentication.handshake import HandshakeTransport
from ipcpipes.rpc import blocking as rpc_blocking

from .drivers import in_thread

KEY, OTHER_KEY = b"a key of 32 bytes, and no less.."[:32], bytes(32)
CLIENT = 30  # seconds


class Greeter(rpc.Interface, uuid="5be52a1f-0a17-4c3b-8c5b-3a1d4f1a9c55", version=(1, 0)):
    """The interface of the calls."""

    @rpc.operation
    async def greet(self) -> str:
        raise NotImplementedError


class AsyncGreeter(Greeter):
    async def greet(self) -> str:
        return "in"


class PlainGreeter(Greeter):
    def greet(self) -> str:  # type: ignore[override]
        return "in"


# Each serves until it is cancelled, and answers its clients with "in".


async def serve_stream(endpoint: Endpoint, task_status: Any, **options: Any) -> None:
    async def handler(stream: ipcpipes.Stream) -> None:
        await stream.send_all(b"in")

    await ipcpipes.serve(handler, endpoint, task_status=task_status, **options)


async def serve_messages(endpoint: Endpoint, task_status: Any, **options: Any) -> None:
    async def handler(channel: ipcpipes.MessageChannel) -> None:
        await channel.send(b"in")

    await ipcpipes.serve_messages(handler, endpoint, task_status=task_status, **options)


async def serve_lines(endpoint: Endpoint, task_status: Any, **options: Any) -> None:
    await serve_messages(endpoint, task_status, framing=ipcpipes.Lines(), **options)


async def serve_native(endpoint: Endpoint, task_status: Any, **options: Any) -> None:
    await serve_messages(endpoint, task_status, framing=ipcpipes.NATIVE, **options)


async def serve_calls(endpoint: Endpoint, task_status: Any, **options: Any) -> None:
    await rpc.serve(AsyncGreeter(), endpoint, task_status=task_status, **options)


async def serve_blocking_calls(endpoint: Endpoint, task_status: Any, **options: Any) -> None:
    with blocking.listen(endpoint) as listener:
        thread = threading.Thread(
            target=rpc_blocking.serve, args=(PlainGreeter(), listener), kwargs=options
        )
        thread.start()
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            listener.close()
            with trio.CancelScope(shield=True):
                await in_thread(thread.join)


async def ask_stream(endpoint: Endpoint, **options: Any) -> str:
    async with await ipcpipes.connect(endpoint, **options) as stream:
        return bytes(await stream.receive_some()).decode()


async def ask_message(endpoint: Endpoint, **options: Any) -> str:
    async with await ipcpipes.connect_messages(endpoint, **options) as channel:
        return bytes(await channel.receive()).decode()


async def ask_line(endpoint: Endpoint, **options: Any) -> str:
    return await ask_message(endpoint, framing=ipcpipes.Lines(), **options)


async def ask_native(endpoint: Endpoint, **options: Any) -> str:
    return await ask_message(endpoint, framing=ipcpipes.NATIVE, **options)


async def ask_call(endpoint: Endpoint, **options: Any) -> str:
    async with rpc.connect(Greeter, endpoint, **options) as client:
        return str(await client.greet())


async def ask_blocking_stream(endpoint: Endpoint, **options: Any) -> str:
    def ask() -> str:
        with blocking.connect(endpoint, **options) as stream:
            return bytes(stream.receive_some(timeout=CLIENT)).decode()

    return await in_thread(ask)


async def ask_blocking_message(endpoint: Endpoint, **options: Any) -> str:
    def ask() -> str:
        with blocking.connect_messages(endpoint, **options) as channel:
            return bytes(channel.receive(timeout=CLIENT)).decode()

    return await in_thread(ask)


async def ask_blocking_line(endpoint: Endpoint, **options: Any) -> str:
    return await ask_blocking_message(endpoint, framing=ipcpipes.Lines(), **options)


async def ask_blocking_native(endpoint: Endpoint, **options: Any) -> str:
    return await ask_blocking_message(endpoint, framing=ipcpipes.NATIVE, **options)


async def ask_blocking_call(endpoint: Endpoint, **options: Any) -> str:
    def ask() -> str:
        with rpc_blocking.connect(Greeter, endpoint, **options) as client:
            return str(client.greet())

    return await in_thread(ask)


Serve = Callable[..., Awaitable[None]]
Ask = Callable[..., Awaitable[str]]
DOORS: list[tuple[Serve, Ask]] = [
    (serve_stream, ask_stream),
    (serve_messages, ask_message),
    (serve_lines, ask_line),
    (serve_native, ask_native),
    (serve_calls, ask_call),
    (serve_stream, ask_blocking_stream),
    (serve_messages, ask_blocking_message),
    (serve_lines, ask_blocking_line),
    (serve_native, ask_blocking_native),
    (serve_calls, ask_blocking_call),
    (serve_blocking_calls, ask_call),
    (serve_blocking_calls, ask_blocking_call),
]
every_door = pytest.mark.parametrize(
    ("serve", "ask"), DOORS, ids=[f"{a.__name__}-{b.__name__}" for a, b in DOORS]
)


@every_door
async def test_only_clients_with_the_key_are_served(
    endpoint: Endpoint, serve: Serve, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ipcpipes")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve(endpoint, task_status, authkey=KEY))
            assert await ask(endpoint, authkey=KEY) == "in"
            with pytest.raises(AuthenticationFailed) as caught:
                await ask(endpoint, authkey=OTHER_KEY)
            assert await ask(endpoint, authkey=bytearray(KEY)) == "in"
            while "turned away" not in caplog.text:  # the server may notice it late
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    # The server's proof was wrong: this client notices at once, and sends nothing more.
    assert "its proof is wrong" in str(caught.value)
    said = [record for record in caplog.records if record.name.startswith("ipcpipes")]
    assert [record.levelno for record in said] == [logging.WARNING]
    assert "turned away" in said[0].getMessage()
    assert said[0].exc_info is None
    for text in (str(caught.value), caplog.text):
        assert KEY.decode() not in text
        assert KEY.hex() not in text


@pytest.mark.parametrize(("serve", "ask"), DOORS[:5])
async def test_client_without_handshake_is_turned_away(
    endpoint: Endpoint, serve: Serve, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    """Expected: its handler never runs, the client hears why, and others get in. What it sent
    may be a secret, and is not logged.
    """
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve(endpoint, task_status, authkey=KEY))
            if serve is serve_native:
                async with await ipcpipes.connect_messages(
                    endpoint, framing=ipcpipes.NATIVE
                ) as channel:
                    await channel.send(b"let me in")
                    with pytest.raises(trio.BrokenResourceError, match="requires an authkey"):
                        await channel.receive()
            else:
                async with await ipcpipes.connect(endpoint) as stream:
                    await stream.send_all(b"let me in")
                    assert await stream.receive_some() == REFUSAL
                    assert await stream.receive_some() == b""
            assert await ask(endpoint, authkey=KEY) == "in"
            nursery.cancel_scope.cancel()
    assert "turned away" in caplog.text
    assert "let me" not in caplog.text


@pytest.mark.parametrize("serve", [serve_calls, serve_blocking_calls])
@pytest.mark.parametrize("ask", [ask_call, ask_blocking_call])
async def test_caller_without_key_gets_a_clear_error(
    endpoint: Endpoint, serve: Serve, ask: Ask
) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve(endpoint, task_status, authkey=KEY))
            with pytest.raises(rpc.ProtocolError, match="requires an authkey"):
                await ask(endpoint)
            nursery.cancel_scope.cancel()


@every_door
async def test_silent_clients_do_not_delay_others(
    endpoint: Endpoint, serve: Serve, ask: Ask
) -> None:
    silent: list[Any] = []
    connect: Any = blocking.connect_messages if serve is serve_native else blocking.connect
    options = {"framing": ipcpipes.NATIVE} if serve is serve_native else {}
    try:
        # Less than the 10 seconds that each client has.
        with trio.fail_after(DEFAULT_SECONDS):
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: serve(endpoint, task_status, authkey=KEY))
                for _ in range(5):
                    silent.append(await in_thread(lambda: connect(endpoint, **options)))
                assert await ask(endpoint, authkey=KEY) == "in"
                nursery.cancel_scope.cancel()
    finally:
        for one in silent:
            one.close()


@pytest.mark.parametrize("serve", [serve_stream, serve_messages, serve_native, serve_calls])
async def test_silent_clients_do_not_delay_the_servers_end(
    endpoint: Endpoint, serve: Serve
) -> None:
    """Expected: closing the listener ends the handshakes, and does not wait for their deadline."""
    connect: Any = ipcpipes.connect_messages if serve is serve_native else ipcpipes.connect
    options = {"framing": ipcpipes.NATIVE} if serve is serve_native else {}
    with trio.fail_after(DEFAULT_SECONDS / 2):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(
                lambda task_status: serve(endpoint, task_status, authkey=KEY)
            )
            async with await connect(endpoint, **options), await connect(endpoint, **options):
                while listener.connection_count != 2:
                    await trio.sleep(0.001)
                await listener.aclose()
                while nursery.child_tasks:
                    await trio.sleep(0.001)


@pytest.mark.parametrize("ask", [ask_stream, ask_message, ask_blocking_stream, ask_blocking_line])
async def test_server_without_the_key_is_refused(endpoint: Endpoint, ask: Ask) -> None:
    """Expected: what it says first is refused, and is not taken for the application's."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve_stream(endpoint, task_status))
            with pytest.raises(AuthenticationFailed):
                await ask(endpoint, authkey=KEY)
            nursery.cancel_scope.cancel()


async def test_connect_cancelled_in_handshake_is_closed(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        with trio.move_on_after(0.05) as scope:
            await ipcpipes.connect(endpoint, authkey=KEY)
        assert scope.cancelled_caught
        with trio.fail_after(CLIENT):
            async with await listener.accept() as stream:
                async for _ in stream:
                    pass


@pytest.mark.parametrize("direction", ["send", "receive"])
async def test_authkey_needs_both_directions(endpoint: Endpoint, direction: Any) -> None:
    with pytest.raises(ValueError, match="authkey needs direction='duplex'"):
        await ipcpipes.connect(endpoint, direction=direction, authkey=KEY)
    with pytest.raises(ValueError, match="authkey needs direction='duplex'"):
        await ipcpipes.serve(print, endpoint, direction=direction, authkey=KEY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="authkey needs direction='duplex'"):
        blocking.connect(endpoint, direction=direction, authkey=KEY)


async def test_bad_key_is_refused_before_anything_is_opened(endpoint: Endpoint) -> None:
    for key, error in (("secret", TypeError), (b"short", ValueError), (b"", ValueError)):
        wrong: Any = key
        with pytest.raises(error, match="authkey must"):
            await ipcpipes.connect(endpoint, authkey=wrong)
        with pytest.raises(error, match="authkey must"):
            await ipcpipes.serve(print, endpoint, authkey=wrong)  # type: ignore[arg-type]
        with pytest.raises(error, match="authkey must"):
            await ipcpipes.connect_messages(endpoint, authkey=wrong)
        with pytest.raises(error, match="authkey must"):
            await ipcpipes.serve_messages(print, endpoint, authkey=wrong)  # type: ignore[arg-type]
        with pytest.raises(error, match="authkey must"):
            await rpc.serve(AsyncGreeter(), endpoint, authkey=wrong)
        with pytest.raises(error, match="authkey must"):
            rpc_blocking.serve(PlainGreeter(), endpoint, authkey=wrong)
        with pytest.raises(error, match="authkey must"):
            blocking.connect_messages(endpoint, authkey=wrong)


async def test_closing_listener_ends_handshakes_of_rpc_server(
    endpoint: Endpoint,
) -> None:
    with blocking.listen(endpoint) as listener:
        thread = threading.Thread(
            target=rpc_blocking.serve, args=(PlainGreeter(), listener), kwargs={"authkey": KEY}
        )
        thread.start()
        with blocking.connect(endpoint) as silent:
            silent.send_all(b"IPAC")
            while listener.connection_count == 0:
                await trio.sleep(0.01)
            listener.close()
            await in_thread(thread.join, DEFAULT_SECONDS / 2)
            assert not thread.is_alive()


def test_connection_closed_after_its_handshake_is_not_logged(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    """Expected: a connection that is closed just after its handshake is not logged as an error."""

    def run(transport: HandshakeTransport, *_: object) -> None:
        transport._below.close()
        listener.close()

    with blocking.listen(endpoint) as listener, blocking.connect(endpoint):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HandshakeTransport, "run", run)
            rpc_blocking.serve(PlainGreeter(), listener, authkey=KEY)
    assert [record.levelname for record in caplog.records] == []


@pytest.mark.parametrize(
    "connect",
    [ipcpipes.connect, ipcpipes.connect_messages, blocking.connect, blocking.connect_messages],
)
async def test_key_is_not_in_the_frames_of_an_error(
    endpoint: Endpoint, connect: Callable[..., Any]
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_stream(endpoint, task_status, authkey=KEY))
        with pytest.raises(AuthenticationFailed) as caught:
            if connect in (blocking.connect, blocking.connect_messages):
                await in_thread(lambda: connect(endpoint, authkey=OTHER_KEY))
            else:
                await connect(endpoint, authkey=OTHER_KEY)
        nursery.cancel_scope.cancel()
    ours = [
        entry.frame.f_locals
        for entry in caught.traceback
        if str(entry.path).startswith(os.path.dirname(ipcpipes.__file__))
    ]
    assert ours
    assert not [True for found in ours if OTHER_KEY in found.values()]


async def test_key_is_not_in_the_frames_of_an_rpc_error(endpoint: Endpoint) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_calls(endpoint, task_status, authkey=KEY))
        with pytest.raises(AuthenticationFailed) as caught:
            async with rpc.connect(Greeter, endpoint, authkey=OTHER_KEY):
                pass
        nursery.cancel_scope.cancel()
    for entry in caught.traceback:
        if str(entry.path).startswith(os.path.dirname(ipcpipes.__file__)):
            assert OTHER_KEY not in entry.frame.f_locals.values(), entry
