"""Endpoint.from_socket on POSIX: connected and listening sockets."""

from __future__ import annotations

import errno
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint, User, blocking, rpc

from .conftest import WINDOWS
from .rpc_drivers import Driver
from .test_handing_over import close, receive_some, send_all
from .test_inherited_endpoints import DOORS, LISTENERS, MESSAGE_DOORS, drivers
from .test_worker_group import SERVER, ask, running

if WINDOWS:
    pytest.skip("about sockets", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING

from ipcpipes._os.posix import calls, inheritance

from .forking import error_of, in_forked_child

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="SOCK_SEQPACKET")


def close_anything(thing: Any) -> None:
    trio.run(thing.aclose) if hasattr(thing, "aclose") else thing.close()


def refused(
    sock: socket.socket, door: Callable[..., Any], error: type[Exception], text: str, **options: Any
) -> None:
    """The door raises, and leaves the socket as it was."""
    number = sock.fileno()
    before = (os.get_inheritable(number), os.get_blocking(number), sock.gettimeout())
    with pytest.raises(error, match=text):
        door(Endpoint.from_socket(sock), **options)
    assert sock.fileno() == number
    assert (os.get_inheritable(number), os.get_blocking(number), sock.gettimeout()) == before


@drivers
@pytest.mark.parametrize("timeout", [None, 0.0, 5.0])
def test_a_pair_in_this_process(driver: str, timeout: float | None) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        number = ours.fileno()
        ours.settimeout(timeout)
        os.set_inheritable(number, True)
        theirs.sendall(b"before")
        stream = DOORS[driver](Endpoint.from_socket(ours))
        assert ours.fileno() == -1, "the socket object does not own it any more"
        assert "[closed]" in repr(ours)
        assert stream.fileno() == number
        assert os.get_blocking(number) is (driver == "blocking")
        assert not os.get_inheritable(number)
        ours.close()
        assert receive_some(stream) == b"before"
        send_all(stream, b"after")
        assert theirs.recv(100) == b"after"
        close(stream)
        assert theirs.recv(100) == b"", "closing the stream closes the socket"


@drivers
def test_the_number_of_a_socket(driver: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = DOORS[driver](Endpoint.from_socket(ours.detach()))
        send_all(stream, b"hello")
        assert theirs.recv(100) == b"hello"
        close(stream)


@drivers
def test_the_socket_object_may_be_forgotten(driver: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        where = Endpoint.from_socket(ours)
        del ours
        gc.collect()
        stream = DOORS[driver](where)
        send_all(stream, b"hello")
        assert theirs.recv(100) == b"hello"
        close(stream)


@drivers
def test_each_direction(driver: str) -> None:
    for direction in ("duplex", "send", "receive"):
        ours, theirs = socket.socketpair()
        with theirs:
            stream = DOORS[driver](Endpoint.from_socket(ours), direction=direction)
            assert hasattr(stream, "send_all") is (direction != "receive")
            assert hasattr(stream, "receive_some") is (direction != "send")
            close(stream)


@drivers
def test_an_endpoint_of_a_socket_works_once(driver: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        first, second = Endpoint.from_socket(ours), Endpoint.from_socket(ours)
        stream = DOORS[driver](first)
        for where in (first, second):
            with pytest.raises(ipcpipes.EndpointNotFound, match="taken over before"):
                DOORS[driver](where)
            with pytest.raises(ipcpipes.EndpointNotFound, match="taken over before"):
                LISTENERS[driver](where)
        send_all(stream, b"the stream still works")
        assert theirs.recv(100) == b"the stream still works"
        close(stream)


@drivers
def test_a_socket_that_was_closed_meanwhile(driver: str) -> None:
    for end in ("close", "detach"):
        ours, theirs = socket.socketpair()
        with theirs:
            where = Endpoint.from_socket(ours)
            number = getattr(ours, end)()
            # The next file gets the number of the socket.
            other = os.open(os.devnull, os.O_RDONLY)
            with pytest.raises(ipcpipes.EndpointNotFound, match="closed or detached"):
                DOORS[driver](where)
            os.close(other)
            if number is not None:
                os.close(number)


@drivers
def test_only_one_of_two_threads_takes_it_over(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    examine = inheritance.examine
    both = threading.Barrier(2)

    def examine_together(*arguments: Any) -> Any:
        found = examine(*arguments)
        both.wait(10)
        return found

    monkeypatch.setattr(inheritance, "examine", examine_together)
    for as_number in (False, True):
        ours, theirs = socket.socketpair()
        with theirs:
            where = Endpoint.from_socket(ours.detach() if as_number else ours)
            results: list[Any] = []

            def take(where: Endpoint = where, results: list[Any] = results) -> None:
                try:
                    results.append(DOORS[driver](where))
                except ipcpipes.EndpointNotFound as error:
                    results.append(error)

            threads = [threading.Thread(target=take) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            errors = [one for one in results if isinstance(one, ipcpipes.EndpointNotFound)]
            assert len(errors) == 1
            (stream,) = [one for one in results if one not in errors]
            send_all(stream, b"x")
            assert theirs.recv(10) == b"x"
            close(stream)


@drivers
def test_sockets_of_another_kind_are_refused(driver: str, short_tmp: Path) -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    with ours, theirs:
        for door in (DOORS[driver], MESSAGE_DOORS[driver], LISTENERS[driver]):
            refused(ours, door, ipcpipes.NotAnEndpoint, "neither a stream")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        refused(datagrams, DOORS[driver], ipcpipes.NotAnEndpoint, "not a Unix domain socket")
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused(server, LISTENERS[driver], ipcpipes.NotAnEndpoint, "not a Unix domain socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_tmp / "s"))
        listening.listen()
        refused(listening, DOORS[driver], ipcpipes.NotAnEndpoint, "listen takes it over")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        refused(ours, LISTENERS[driver], ipcpipes.NotAnEndpoint, "connect takes it over")


@linux_only
@drivers
def test_a_socket_without_a_connection_is_refused(driver: str) -> None:
    with socket.socket(socket.AF_UNIX) as lonely:
        refused(lonely, DOORS[driver], ipcpipes.NotAnEndpoint, "not connected")


@linux_only
@drivers
def test_native_messages(driver: str) -> None:
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        refused(ours, DOORS[driver], ipcpipes.NotAnEndpoint, "framing=NATIVE")
        refused(ours, MESSAGE_DOORS[driver], ipcpipes.NotAnEndpoint, "framing=NATIVE")
        where = Endpoint.from_socket(ours)
        channel = MESSAGE_DOORS[driver](where, framing=ipcpipes.NATIVE)
        theirs.sendall(b"whole")
        receive = channel.receive
        assert (trio.run(receive) if driver == "trio" else receive()) == b"whole"
        close_anything(channel)


@drivers
def test_messages_between_two_channels_of_one_pair(driver: str) -> None:
    left, right = (
        MESSAGE_DOORS[driver](Endpoint.from_socket(sock)) for sock in socket.socketpair()
    )
    if driver == "trio":
        trio.run(left.send, b"hello")
        assert trio.run(right.receive) == b"hello"
    else:
        left.send(b"hello")
        assert right.receive() == b"hello"
    close_anything(left)
    close_anything(right)


@drivers
def test_options_of_the_socket(driver: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        received = ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        stream = DOORS[driver](Endpoint.from_socket(ours), buffer_size=10_000)
        assert stream.receive_buffer_size == received
        assert 10_000 <= stream.send_buffer_size <= 20_000
        close(stream)


@drivers
def test_the_user_at_the_other_end_is_checked(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    me = AccessPolicy.current_user()
    nobody = AccessPolicy(deny=[User(os.geteuid())])
    ours, theirs = connected_through_a_file()
    with theirs:
        refused(ours, DOORS[driver], ipcpipes.UntrustedServer, "descriptor", server=nobody)
        stream = DOORS[driver](Endpoint.from_socket(ours), server=me)
        assert stream.peer.uid == os.geteuid()
        close(stream)
    receiving, sending = os.pipe()
    with pytest.raises(ipcpipes.NotSupported, match="leave server out"):
        DOORS[driver](Endpoint.from_socket(receiving), direction="receive", server=me)
    os.close(receiving)
    os.close(sending)

    def unknown(fd: int) -> None:
        raise OSError(errno.ENOTCONN, "as macOS answers for a pair")

    ours, theirs = socket.socketpair()
    with ours, theirs, monkeypatch.context() as patch:
        patch.setattr(calls, "peer_credentials", unknown)
        refused(ours, DOORS[driver], ipcpipes.NotSupported, "leave server out", server=me)


def connected_through_a_file() -> tuple[socket.socket, socket.socket]:
    """Returns (client, accepted)."""
    with socket.socket(socket.AF_UNIX) as listening:
        path = Endpoint.named("from-socket").address
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        listening.bind(path)
        listening.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        accepted, _ = listening.accept()
        os.unlink(path)
        return client, accepted


@drivers
def test_an_accepted_socket_knows_its_client(driver: str) -> None:
    client, accepted = connected_through_a_file()
    with client:
        stream = DOORS[driver](Endpoint.from_socket(accepted))
        assert stream.peer.uid == os.geteuid()
        close(stream)


@drivers
def test_a_failure_after_the_checks_leaks_nothing(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> int:
        return -errno.ENOBUFS

    monkeypatch.setattr(calls, "set_options", fails)
    ours, theirs = socket.socketpair()
    with theirs:
        with pytest.raises(OSError, match=os.strerror(errno.ENOBUFS)):
            DOORS[driver](Endpoint.from_socket(ours))
        assert ours.fileno() == -1
        assert theirs.recv(10) == b"", "it was closed"


def listening_at(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    return listening


@drivers
def test_a_listening_socket(driver: str, short_tmp: Path) -> None:
    path = short_tmp / "s"
    sock = listening_at(path)
    number = sock.fileno()
    listener = LISTENERS[driver](Endpoint.from_socket(sock))
    assert sock.fileno() == -1
    assert listener.fileno() == number
    assert listener.address == str(path)
    assert not os.get_inheritable(number)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        accepted = trio.run(listener.accept) if driver == "trio" else listener.accept()
        assert accepted.peer.pid == os.getpid()
        send_all(accepted, b"hello")
        assert client.recv(100) == b"hello"
        close(accepted)
    close_anything(listener)
    assert path.is_socket(), "only the program that made the file removes it"
    assert not (short_tmp / "s.lock").exists()


@drivers
def test_access_is_checked_at_a_listening_socket(
    driver: str, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = short_tmp / "s"
    sock = listening_at(path)
    denies_me = AccessPolicy(deny=[User(os.geteuid())])
    refused(sock, LISTENERS[driver], ValueError, "denies access", access=denies_me)
    listener = LISTENERS[driver](Endpoint.from_socket(sock))
    monkeypatch.setattr(listener, "_admits", lambda credentials: False)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        if driver == "trio":

            async def accept() -> None:
                with trio.move_on_after(0.2):
                    await listener.accept()
                    raise AssertionError("a client was accepted")

            trio.run(accept)
        else:
            with pytest.raises(TimeoutError):
                listener.accept(timeout=0.2)
        assert client.recv(10) == b"", "the client was turned away"
    close_anything(listener)


@linux_only
@drivers
def test_an_abstract_socket_where_users_cannot_be_told_apart(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("\0from-socket-" + str(os.getpid()))
        sock.listen()
        with monkeypatch.context() as patch:
            patch.setattr(calls, "can_tell_users_apart", lambda: False)
            refused(sock, LISTENERS[driver], ipcpipes.NotSupported, "no permissions")
        listener = LISTENERS[driver](Endpoint.from_socket(sock))
        assert listener.address.startswith("@from-socket-")
        close_anything(listener)


@drivers
def test_a_socket_that_came_over_another_socket(driver: str) -> None:
    ours, theirs = socket.socketpair()
    left, right = socket.socketpair()
    with theirs, left, right:
        socket.send_fds(left, [b"x"], [ours.fileno()])
        ours.close()
        _, (number,), _, _ = socket.recv_fds(right, 10, 1)
        stream = DOORS[driver](Endpoint.from_socket(socket.socket(fileno=number)))
        send_all(stream, b"hello")
        assert theirs.recv(100) == b"hello"
        close(stream)


class Echo(rpc.Interface, uuid="6f1a3c1e-7c0a-4f0c-9b51-6d7a6a2e1f11", version=(1, 0)):
    @rpc.operation
    async def shout(self, text: str) -> str: ...


class Shouter(Echo):
    async def shout(self, text: str) -> str:
        return text.upper()


async def test_remote_calls_over_sockets_of_ones_own(driver: Driver, short_tmp: Path) -> None:
    path = short_tmp / "s"
    listening = listening_at(path)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, Shouter(), Endpoint.from_socket(listening))
        with trio.fail_after(10):
            async with driver.connect(Echo, Endpoint.from_socket(client)) as echo:
                assert await echo.shout("hello") == "HELLO"
        nursery.cancel_scope.cancel()


def test_a_channel_of_a_listening_socket(short_tmp: Path) -> None:
    path = short_tmp / "s"
    listening = listening_at(path)
    with blocking.listen_messages(Endpoint.from_socket(listening)) as listener:
        with blocking.connect_messages(path) as client, listener.accept() as server:
            client.send(b"hello")
            assert server.receive() == b"hello"


async def test_a_group_of_workers_takes_a_listening_socket(short_tmp: Path) -> None:
    path = short_tmp / "s"
    where = Endpoint.from_socket(listening_at(path))
    async with running(SERVER, 2, endpoint=where):
        assert await ask(Endpoint.path(path)) != os.getpid()
    assert path.is_socket()


@drivers
def test_a_forked_child_cannot_use_it(driver: str) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        stream = DOORS[driver](Endpoint.from_socket(ours))
        assert in_forked_child(stream.fileno) == error_of("stream")
        send_all(stream, b"the parent can")
        assert theirs.recv(100) == b"the parent can"
        close(stream)
