"""Windows: handles and peers that are not trusted, break the rules, or have gone."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import LengthPrefixed
from ipcpipes.testing import unique_endpoint

if sys.platform != "win32":
    pytest.skip("elsewhere the system passes them", allow_module_level=True)

from ipcpipes._ffi import lib
from ipcpipes._os.handles.headers import handle_header
from ipcpipes._os.windows import calls, passing

from .children import python_child
from .descriptors import PAIRS
from .handle_channels import KINDS, channels, watched
from .handles import is_open


@pytest.fixture(params=PAIRS)
def doors(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=KINDS)
def framing(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_more_than_allowed_is_the_peers_fault(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing, 2)
    async with left, right:
        with watched() as pipe:
            await left.send(b"before")
            await left.send_descriptors(b"bad", [pipe.handle] * 3)
            pipe.close_here()
            assert await right.receive() == b"before"
            for receive in (right.receive_descriptors, right.receive, right.receive_many):
                with pytest.raises(trio.BrokenResourceError, match=r"3 descriptors.*allows 2$"):
                    await receive()
            assert not pipe.is_open_anywhere
        await right.send(b"the other way is whole")
        assert await left.receive() == b"the other way is whole"


async def test_forged_numbers_are_refused_and_left_alone(
    doors: Any, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "is_trusted_sender", lambda _: False)
    left, right = await channels(doors, framing)
    async with left, right:
        with watched() as pipe:
            await left.send(b"no handles, no question")
            await left.send_descriptors(b"bad", [pipe.handle])
            assert await right.receive() == b"no handles, no question"
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError, match="not trusted"):
                    await right.receive_descriptors()
            pipe.close_here()
            assert pipe.is_open_anywhere, "a number that may be another handle was closed"


@pytest.mark.parametrize("to", ["client", "server"])
async def test_a_peer_with_a_lower_integrity_level_is_not_trusted(
    doors: Any, framing: Any, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = await channels(doors, framing)
    sender, receiver = (server, client) if to == "client" else (client, server)
    level = passing._our_level()
    async with sender, receiver:
        with watched() as pipe:
            monkeypatch.setattr(passing, "_our_level", lambda: level + 1)
            await sender.send_descriptors(b"bad", [pipe.handle])
            with pytest.raises(trio.BrokenResourceError, match="not trusted"):
                await receiver.receive_descriptors()


@pytest.mark.parametrize(
    ("owner", "believed"),
    [
        ("S-1-5-18", True),
        ("S-1-5-32-544", True),
        ("S-1-5-32-545", False),
        ("S-1-5-21-1-2-3-1001", False),
        (None, False),
    ],
)
async def test_a_client_checks_the_owner_of_the_pipe(
    doors: Any, owner: str | None, believed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = await channels(doors, LengthPrefixed())
    async with client, server:
        with watched() as pipe:
            identity = ipcpipes.PeerIdentity(sid=owner)
            monkeypatch.setattr(calls, "owner", lambda _: identity)
            await server.send_descriptors(b"x", [pipe.handle])
            if believed:
                message, (handle,) = await client.receive_descriptors()
                assert message == b"x"
                calls.close(handle)
            else:
                with pytest.raises(trio.BrokenResourceError, match="not trusted"):
                    await client.receive_descriptors()
            # The other direction is another question.
            await client.send_descriptors(b"y", [pipe.handle])
            message, (handle,) = await server.receive_descriptors()
            assert message == b"y"
            calls.close(handle)


async def test_an_anonymous_client_is_not_trusted(
    doors: Any, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = await channels(doors, framing)
    async with client, server:
        with watched() as pipe:
            refused = (calls.ERROR_CANT_OPEN_ANONYMOUS, 0, 0)
            monkeypatch.setattr(calls, "client_token", lambda _: refused)
            await client.send_descriptors(b"x", [pipe.handle])
            with pytest.raises(trio.BrokenResourceError, match="not trusted"):
                await server.receive_descriptors()


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        ([b"a message"], "needs max_descriptors= too"),
        ([b""], "needs max_descriptors= too"),
        ([b"handles "], "needs max_descriptors"),
        ([b"handles 0 4"], "needs max_descriptors"),
        ([b"handles 1"], "needs max_descriptors"),
        ([b"handles 1 04"], "needs max_descriptors"),
        ([b"handles 1 -4"], "needs max_descriptors"),
        ([b"handles 1 4" + 253 * b" 8"], "needs max_descriptors"),
        ([b"handles 1 " + 10_000 * b"4"], "needs max_descriptors"),
        ([b"handles 1 80000000"], "invalid or duplicate"),
        ([b"handles 1 4 8 4"], "invalid or duplicate"),
        ([b"handles 4294967295 4"], "put handles into process 4294967295, which opened this end"),
        ([b"handles", b"good", b"bad"], "needs max_descriptors"),
        ([b"handles PID 7ffffff0"], "not open in this process"),
        ([b"handles PID OURS 7ffffff0"], "not open in this process"),
        ([b"handles"], "ended inside a message"),
        ([b"handles PID"], "needs max_descriptors"),
    ],
)
async def test_bad_handle_header_is_the_peers_fault(
    doors: Any, framing: Any, wire: list[bytes], fault: str
) -> None:
    client_door, server_door = doors
    with watched() as pipe:
        async with await server_door.listen_messages(
            unique_endpoint(), framing=framing, max_descriptors=8
        ) as listener:
            left = await client_door.connect_messages(listener.endpoint, framing=framing)
            async with left, await listener.accept() as right:
                await left.send_many(
                    [
                        part.replace(b"PID", b"%d" % os.getpid()).replace(
                            b"OURS", b"%x" % pipe.handle
                        )
                        for part in wire
                    ]
                )
                await left.aclose()
                if b"good" in wire:
                    assert await right.receive_descriptors() == (b"good", [])
                for _ in range(2):
                    with pytest.raises(trio.BrokenResourceError, match=fault):
                        await right.receive_descriptors()
        assert is_open(pipe.handle)


async def test_message_may_look_like_a_handle_header(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    async with left, right:
        with watched() as pipe:
            forged = handle_header(os.getpid(), [pipe.handle])
            await left.send_many([forged, b"handles"])
            await left.send_descriptors(forged, [pipe.handle])
            assert await right.receive_descriptors() == (forged, [])
            assert await right.receive_descriptors() == (b"handles", [])
            message, (handle,) = await right.receive_descriptors()
            assert message == forged
            assert pipe.comes_through(handle)


async def test_a_peer_that_has_gone_gets_none(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    async with left:
        await right.aclose()
        with watched() as pipe:
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError):
                    await left.send_descriptors(b"x", [pipe.handle])
            pipe.close_here()
            assert not pipe.is_open_anywhere


async def test_a_peer_that_was_killed_gets_none(framing: Any) -> None:
    program = """
    where = ipcpipes.Endpoint.path(sys.argv[1])
    async with await ipcpipes.connect(where) as stream:
        say("here")
        await trio.sleep_forever()
    """
    async with await ipcpipes.listen_messages(
        unique_endpoint(), framing=framing, max_descriptors=1
    ) as listener:
        with python_child(program, listener.address) as child:
            async with await listener.accept() as channel:
                child.hear()
                child.kill()
                with watched() as pipe, pytest.raises(trio.BrokenResourceError):
                    await channel.send_descriptors(b"x", [pipe.handle])


@pytest.mark.wine_differs("there is no process 4")
async def test_a_process_that_may_not_be_opened_is_named(
    doors: Any, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = await channels(doors, framing)
    # The system's own process, which no user may open.
    monkeypatch.setattr(getattr(left, "blocking", left)._carrier, "_known_process", 4)
    async with left, right:
        with watched() as pipe:
            with pytest.raises(PermissionError, match="handles into process 4, which"):
                await left.send_descriptors(b"x", [pipe.handle])
        await left.send(b"as it was")
        assert await right.receive() == b"as it was"


async def test_a_refusal_of_the_system_is_told(
    doors: Any, framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        ipc_take_back = lib.ipc_take_back

        @staticmethod
        def ipc_give_handles(*_: object) -> int:
            return calls.ERROR_ACCESS_DENIED

    left, right = await channels(doors, framing)
    async with left, right:
        with watched() as pipe, monkeypatch.context() as context:
            context.setattr(passing, "lib", Refusing)
            with pytest.raises(PermissionError, match=rf"handles into process {os.getpid()},"):
                await left.send_descriptors(b"x", [pipe.handle])
        await left.send(b"as it was")
        assert await right.receive() == b"as it was"
