"""A process without an event loop talks to one with trio, in both roles."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint, blocking

from .children import SECONDS, python_child
from .pairs import receive_exactly
from .threads import plain_child

FRAMINGS = ["LengthPrefixed()", "Lines()"]
FRAMINGS += ["NATIVE"] if sys.platform in ("linux", "win32") else []
SIZES = (0, 1, 3000, 65_536, 150_000)

# A blocking echo, of bytes and of messages, as client and as server.
_CHILD = """
how, where, framing = sys.argv[1:4]
if framing == "bytes":
    doors = blocking.connect, blocking.listen
    options = {}
else:
    doors = blocking.connect_messages, blocking.listen_messages
    options = {"framing": eval("ipcpipes." + framing)}
if how == "client":
    end = doors[0](where, wait=30, **options)
else:
    with doors[1](where, **options) as listener:
        say("ready")
        end = listener.accept(timeout=30)
say(end.peer.pid)
with end:
    for what in end:
        (end.send_all if framing == "bytes" else end.send)(what)
say("the end")
"""


async def check_messages(channel: Any) -> None:
    for size in SIZES:
        message = b"x" * size
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.send, message)
            assert await channel.receive() == message
    await channel.send_many([b"a", b"", b"c"])
    assert [await channel.receive() for _ in range(3)] == [b"a", b"", b"c"]


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_blocking_client_of_a_trio_server(endpoint: Endpoint, framing: str) -> None:
    options: Any = {"framing": eval("ipcpipes." + framing)}
    with plain_child(_CHILD, "client", endpoint.name, framing) as child:
        async with await ipcpipes.listen_messages(endpoint, **options) as listener:
            async with await listener.accept() as channel:
                assert child.hear() == str(os.getpid())
                await check_messages(channel)
        assert child.hear() == "the end"
        assert child.wait() == 0


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_blocking_server_of_a_trio_client(endpoint: Endpoint, framing: str) -> None:
    options: Any = {"framing": eval("ipcpipes." + framing)}
    with plain_child(_CHILD, "server", endpoint.name, framing) as child:
        assert child.hear() == "ready"
        async with await ipcpipes.connect_messages(endpoint, **options) as channel:
            assert child.hear() == str(os.getpid())
            await check_messages(channel)
        assert child.hear() == "the end"
        assert child.wait() == 0


@pytest.mark.parametrize("how", ["client", "server"])
async def test_blocking_and_trio_exchange_bytes(endpoint: Endpoint, how: str) -> None:
    data = os.urandom(300_000)

    async def check(stream: Any) -> None:
        async with stream, trio.open_nursery() as nursery:
            assert child.hear() == str(os.getpid())
            nursery.start_soon(stream.send_all, data)
            assert await receive_exactly(stream, len(data)) == data

    with plain_child(_CHILD, how, endpoint.name, "bytes") as child:
        if how == "client":
            async with await ipcpipes.listen(endpoint) as listener:
                await check(await listener.accept())
        else:
            assert child.hear() == "ready"
            await check(await ipcpipes.connect(endpoint))
        assert child.hear() == "the end"
        assert child.wait() == 0


@pytest.mark.parametrize("in_flight", [0, 60_000])
def test_killed_peer_ends_the_stream(endpoint: Endpoint, in_flight: int) -> None:
    with python_child(
        """
        async with await ipcpipes.connect(sys.argv[1], wait=30) as stream:
            await stream.send_all(bytes(int(sys.argv[2])))
            say("sent")
            await trio.sleep_forever()
        """,
        endpoint.name,
        str(in_flight),
    ) as child:
        with blocking.listen(endpoint) as listener, listener.accept(timeout=SECONDS) as stream:
            assert child.hear() == "sent"
            child.kill()
            assert b"".join(stream) == bytes(in_flight)
            assert stream.receive_some(timeout=0) == b""
            with pytest.raises(trio.BrokenResourceError):
                for _ in range(1000):
                    stream.send_all(b"x" * 1000)


def test_name_of_a_killed_server_is_free(endpoint: Endpoint) -> None:
    with plain_child(
        """
        with blocking.listen_messages(sys.argv[1]) as listener:
            say("ready")
            with listener.accept() as channel:
                channel.send(b"last words")
                say("sent")
                hear()
        """,
        endpoint.name,
    ) as child:
        assert child.hear() == "ready"
        with blocking.connect_messages(endpoint) as channel:
            assert child.hear() == "sent"
            child.kill()
            assert list(channel) == [b"last words"]
    with blocking.listen(endpoint):
        pass


def test_children_inherit_no_connection(endpoint: Endpoint) -> None:
    with blocking.listen(endpoint) as listener:
        client, server = blocking.connect(endpoint), listener.accept()
        with client, server:
            child = subprocess.Popen(
                [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                close_fds=False,
            )
            assert child.stdin is not None
            assert child.stdout is not None
            with child:
                assert child.stdout.readline().strip() == b"up"
                client.close()
                assert server.receive_some(timeout=SECONDS) == b""
                server.close()
                listener.close()
                with blocking.listen(endpoint):
                    pass
                child.stdin.close()


def test_importing_ipcpipes_does_not_load_blocking() -> None:
    program = "import ipcpipes, sys; print(any('blocking' in name for name in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
