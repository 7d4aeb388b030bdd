"""Endpoint.from_socket: what this program has opened itself, on every system."""

from __future__ import annotations

import copy as copying
import dataclasses
import pickle
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import ipcpipes
from ipcpipes import Endpoint, blocking

from .conftest import WINDOWS
from .test_handing_over import close, receive_some, send_all
from .test_inherited_endpoints import (
    DOORS,
    LISTENERS,
    MESSAGE_DOORS,
    close_number,
    copy,
    drivers,
    is_inheritable,
    left_alone,
    number_of,
)


@contextmanager
def own_ends() -> Iterator[tuple[int, int]]:
    """Yields numbers of (receive end, send end), which the block has to use or to close."""
    ends = blocking.open_anonymous_pipe()
    numbers = tuple(copy(int(end.endpoint.name)) for end in ends)
    close(*ends)
    yield numbers[0], numbers[1]


@drivers
def test_both_ends_of_a_pipe_by_their_numbers(driver: str) -> None:
    with own_ends() as (receiving, sending):
        receiver = DOORS[driver](Endpoint.from_socket(receiving), direction="receive")
        sender = DOORS[driver](Endpoint.from_socket(sending), direction="send")
        for end, number in ((receiver, receiving), (sender, sending)):
            assert end.endpoint == Endpoint.from_socket(number)
            assert str(number) in end.address
            assert end.peer == ipcpipes.PeerIdentity()
            assert not is_inheritable(number), "children must not inherit it by accident"
        send_all(sender, b"hello")
        assert receive_some(receiver) == b"hello"
        close(receiver, sender)
        for number in (receiving, sending):
            with pytest.raises(OSError, match=r"."):
                is_inheritable(number)


@drivers
def test_a_number_that_is_not_inheritable_is_taken_too(driver: str) -> None:
    receiver, sender = blocking.open_anonymous_pipe()
    with sender:
        number = receiver.detach()
        assert not is_inheritable(number)
        end = DOORS[driver](Endpoint.from_socket(number), direction="receive")
        sender.send_all(b"x")
        assert receive_some(end) == b"x"
        close(end)


@drivers
def test_an_endpoint_works_once(driver: str) -> None:
    with own_ends() as (receiving, sending):
        where = Endpoint.from_socket(receiving)
        end = DOORS[driver](where, direction="receive")
        for direction in ("receive", "send", "duplex"):
            # It cannot come back, so connect does not wait.
            with pytest.raises(ipcpipes.EndpointNotFound, match="taken over before"):
                DOORS[driver](where, direction=direction, wait=3600)
        with pytest.raises(ipcpipes.EndpointNotFound, match="taken over before"):
            MESSAGE_DOORS[driver](where)
        with pytest.raises(ipcpipes.EndpointNotFound, match="taken over before"):
            DOORS[driver](copying.copy(where), direction="receive")
        close(end)
        close_number(sending)


@drivers
def test_a_number_of_nothing_is_not_found(driver: str) -> None:
    for number in (2**16 + 12_345 * 4, 2**31 - 4, 2**31, 2**40, 10**19 - 1):
        with pytest.raises(ipcpipes.EndpointNotFound, match=r"no such (descriptor|handle)$"):
            DOORS[driver](Endpoint.from_socket(number), wait=3600)


@drivers
def test_a_refused_number_stays_with_the_caller(driver: str) -> None:
    with own_ends() as (receiving, sending):
        where = Endpoint.from_socket(receiving)
        with left_alone(receiving), pytest.raises(ipcpipes.EndpointDenied, match='to "send"'):
            DOORS[driver](where, direction="send")
        with left_alone(receiving), pytest.raises(ipcpipes.NotAnEndpoint, match="direction="):
            DOORS[driver](where)
        with left_alone(receiving), pytest.raises(ipcpipes.NotAnEndpoint, match="direction="):
            MESSAGE_DOORS[driver](where)
        with left_alone(receiving), pytest.raises((ipcpipes.NotAnEndpoint, ipcpipes.NotSupported)):
            LISTENERS[driver](where)
        with left_alone(receiving), pytest.raises(ValueError, match="buffer_size"):
            DOORS[driver](where, direction="receive", buffer_size=0)
        close(DOORS[driver](where, direction="receive"))  # the endpoint still works
        close_number(sending)


@drivers
def test_a_file_is_refused(driver: str) -> None:
    with tempfile.TemporaryFile() as file:
        number = copy(number_of(file.fileno()))
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match=r"neither|not a pipe"):
            DOORS[driver](Endpoint.from_socket(number))
        close_number(number)


@drivers
def test_a_network_socket_is_refused(driver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.settimeout(5)
            for door in (DOORS[driver], MESSAGE_DOORS[driver]):
                with pytest.raises(ipcpipes.NotAnEndpoint, match="this is not a"):
                    door(Endpoint.from_socket(client))
            assert client.gettimeout() == 5
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"usable")
                assert accepted.recv(100) == b"usable"


@pytest.mark.skipif(not WINDOWS, reason="POSIX takes a listening socket over")
@drivers
def test_no_handle_listens(driver: str) -> None:
    with own_ends() as (receiving, sending):
        with left_alone(receiving), pytest.raises(ipcpipes.NotSupported, match="listens"):
            LISTENERS[driver](Endpoint.from_socket(receiving))
        close_number(receiving)
        close_number(sending)


def test_what_is_no_socket_is_refused_at_once() -> None:
    for wrong in (True, None, 1.0, b"1", "1", object()):
        with pytest.raises(TypeError, match=r"socket\.socket or the number"):
            Endpoint.from_socket(wrong)  # type: ignore[arg-type]
    with pytest.raises(ipcpipes.InvalidEndpoint, match="decimal digits"):
        Endpoint.from_socket(-1)
    with socket.socket() as closed:
        pass
    with pytest.raises(ipcpipes.InvalidEndpoint, match="closed, or was detached"):
        Endpoint.from_socket(closed)


def test_the_endpoint_is_a_value_without_an_address() -> None:
    with socket.socket() as sock:
        where = Endpoint.from_socket(sock)
        assert (where.kind, where.name) == ("socket", str(sock.fileno()))
        assert where == Endpoint.from_socket(sock.fileno())
        assert where != Endpoint.inherited(sock.fileno())
        assert len({where, Endpoint.from_socket(sock)}) == 1
        assert str(where) == f"socket endpoint '{sock.fileno()}'"
        assert repr(where) == f"Endpoint(kind='socket', name='{sock.fileno()}')"
        assert Endpoint.of(where) is where
        with pytest.raises(ipcpipes.NotSupported, match="has no address"):
            where.address  # noqa: B018 - the property raises
        with pytest.raises(TypeError, match="socket"):
            pickle.dumps(where)
        with pytest.raises(dataclasses.FrozenInstanceError):
            where.name = "4"  # type: ignore[misc]
