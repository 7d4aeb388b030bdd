"""Open objects cannot be copied or pickled, and the error says what to do instead."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import ipcpipes
from ipcpipes import Broadcaster, LengthPrefixed, WorkerGroup, blocking, rpc
from ipcpipes.rpc import blocking as rpc_blocking
from ipcpipes.testing import unique_endpoint

from . import programs
from .pairs import stream_pair
from .rpc_blocking_pairs import Calls, Manager

CONNECT = "pass its endpoint, and connect in the other process"
GROUP = "to serve one endpoint from several processes, use a WorkerGroup"
CLIENT = "connect in the other process: rpc.connect(interface, endpoint)"
HAND_OVER = "hand it over to a child: open_child(command, pipes={'name': end})"


def refuses(thing: Any, name: str, instead: str) -> None:
    expected = f"{name} objects cannot be pickled or copied; {instead}"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(thing, protocol)
        assert str(caught.value) == expected
    for copying in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError) as caught:
            copying(thing)
        assert str(caught.value) == expected


async def test_trio_streams_and_listeners_are_not_copied() -> None:
    client, server = await stream_pair()
    async with client, server:
        refuses(client, "Stream", CONNECT)
        refuses(server, "Stream", CONNECT)
    client, server = await stream_pair("send")
    async with client, server:
        refuses(client, "SendStream", CONNECT)
        refuses(server, "ReceiveStream", CONNECT)
    async with await ipcpipes.listen(unique_endpoint()) as listener:
        refuses(listener, "Listener", GROUP)
    refuses(client, "SendStream", CONNECT)  # a closed one neither


async def test_trio_channels_are_not_copied() -> None:
    async with await ipcpipes.listen_messages(unique_endpoint()) as listener:
        refuses(listener, "MessageListener", GROUP)
        async with (
            await ipcpipes.connect_messages(listener.endpoint) as client,
            await listener.accept(),
        ):
            refuses(client, type(client).__name__.lstrip("_"), CONNECT)


async def test_trio_pipes_are_not_copied() -> None:
    receiving, sending = ipcpipes.open_anonymous_pipe()
    async with receiving, sending:
        refuses(receiving, "ReceiveStream", HAND_OVER)
        refuses(sending, "SendStream", HAND_OVER)


def test_blocking_objects_are_not_copied() -> None:
    with blocking.listen(unique_endpoint()) as listener:
        refuses(listener, "Listener", GROUP)
        with blocking.connect(listener.endpoint) as client, listener.accept() as server:
            refuses(client, "Stream", CONNECT)
            refuses(server, "Stream", CONNECT)
    with blocking.listen_messages(unique_endpoint()) as channels:
        refuses(channels, "MessageListener", GROUP)
        with blocking.connect_messages(channels.endpoint) as channel, channels.accept():
            refuses(channel, type(channel).__name__.lstrip("_"), CONNECT)
    receiving, sending = blocking.open_anonymous_pipe()
    with receiving, sending:
        refuses(receiving, "ReceiveStream", HAND_OVER)
        refuses(sending, "SendStream", HAND_OVER)


@contextmanager
def served() -> Iterator[ipcpipes.Endpoint]:
    listener = blocking.listen(unique_endpoint())
    thread = threading.Thread(target=rpc_blocking.serve, args=(Manager(), listener))
    thread.start()
    try:
        yield listener.endpoint
    finally:
        listener.close()
        thread.join()


def test_blocking_clients_are_not_copied() -> None:
    with ExitStack() as stack:
        endpoint = stack.enter_context(served())
        client = stack.enter_context(rpc_blocking.connect(Calls, endpoint))
        refuses(client, "Client", CLIENT)
        refuses(client.plain, "ClientOperation", CLIENT)
        handle = rpc_blocking.operation_of(client.plain).begin(1)
        refuses(handle, "CallHandle", "they belong to a call, and a call belongs to its connection")


async def test_trio_clients_are_not_copied() -> None:
    with served() as endpoint:
        async with rpc.connect(Calls, endpoint) as client:
            refuses(client, "Client", CLIENT)
            refuses(client.plain, "ClientOperation", CLIENT)
            handle = rpc.operation_of(client.plain).begin(1)
            refuses(
                handle, "CallHandle", "they belong to a call, and a call belongs to its connection"
            )


async def test_children_and_groups_are_not_copied() -> None:
    refuses(WorkerGroup(programs.HANG, 1), "WorkerGroup", CONNECT)
    refuses(Broadcaster(), "Broadcaster", CONNECT)
    instead = "only the process that started the child can use it"
    async with ipcpipes.open_child(programs.HANG, grace=0) as child:
        refuses(child, "Child", instead)
    with blocking.open_child(programs.HANG, grace=0) as other:
        refuses(other, "Child", instead)


@pytest.mark.parametrize(
    "thing", [unique_endpoint(), LengthPrefixed(max_size=7), ipcpipes.PeerIdentity(pid=1)]
)
def test_values_can_be_copied_and_pickled(thing: Any) -> None:
    assert pickle.loads(pickle.dumps(thing)) == thing
    assert copy.deepcopy(thing) == thing
