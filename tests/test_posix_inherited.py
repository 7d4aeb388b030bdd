"""Endpoint.inherited on POSIX: connected and listening sockets."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint

from .inheriting import inheriting_child
from .test_handing_over import close
from .test_inherited_endpoints import (
    DOORS,
    LISTENERS,
    MESSAGE_DOORS,
    copy,
    drivers,
    left_alone,
)

if sys.platform == "win32":
    pytest.skip("about sockets", allow_module_level=True)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="SOCK_SEQPACKET")


def pair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, int]:
    """Returns a socket, and the inheritable number of the other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with theirs:
        return ours, copy(theirs.fileno())


SOCKET_USERS = {
    "trio": """
        import trio, ipcpipes
        async def main():
            async with await ipcpipes.connect(ipcpipes.Endpoint.inherited(sys.argv[1])) as stream:
                async for data in stream:
                    await stream.send_all(data.upper())
        trio.run(main)
        """,
    "blocking": """
        from ipcpipes import Endpoint, blocking
        with blocking.connect(Endpoint.inherited(sys.argv[1])) as stream:
            for data in stream:
                stream.send_all(data.upper())
        """,
}


@pytest.mark.parametrize("user", SOCKET_USERS)
def test_child_takes_over_a_connected_socket(user: str) -> None:
    ours, number = pair()
    with ours, inheriting_child(SOCKET_USERS[user], str(number)) as child:
        os.close(number)
        ours.sendall(b"hello")
        assert ours.recv(100) == b"HELLO"
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""
        assert child.wait() == 0


@drivers
def test_inherited_socket_can_have_any_direction(driver: str) -> None:
    for direction in ("duplex", "send", "receive"):
        ours, number = pair()
        with ours:
            stream = DOORS[driver](Endpoint.inherited(number), direction=direction)
            assert hasattr(stream, "send_all") is (direction != "receive")
            assert hasattr(stream, "receive_some") is (direction != "send")
            assert not os.get_inheritable(number)
            assert stream.address == f"descriptor {number}"
            close(stream)


@drivers
def test_takeover_works_where_the_system_cannot_tell_listeners(
    driver: str, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS answers the question."""
    getsockopt = socket.socket.getsockopt

    def without_answer(sock: socket.socket, level: int, option: int, *rest: int) -> Any:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        return getsockopt(sock, level, option, *rest)

    monkeypatch.setattr(socket.socket, "getsockopt", without_answer)
    ours, number = pair()
    with ours:
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="does not listen"):
            LISTENERS[driver](Endpoint.inherited(number))
        close(DOORS[driver](Endpoint.inherited(number)))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_tmp / "inherited.sock"))
        listening.listen()
        listener = LISTENERS[driver](Endpoint.inherited(copy(listening.fileno())))
        trio.run(listener.aclose) if driver == "trio" else listener.close()


@drivers
def test_peer_of_an_inherited_socket(driver: str) -> None:
    ours, number = pair()
    with ours:
        stream = DOORS[driver](Endpoint.inherited(number))
        assert stream.peer.pid in (os.getpid(), None), "macOS does not tell the pid for a pair"
        close(stream)


@drivers
def test_closed_peer_is_not_an_error_at_connect(driver: str) -> None:
    ours, number = pair()
    ours.sendall(b"last words")
    ours.close()
    stream = DOORS[driver](Endpoint.inherited(number), direction="receive")
    close(stream)


@drivers
def test_messages_over_an_inherited_socket(driver: str) -> None:
    ours, number = pair()
    with ours:
        channel = MESSAGE_DOORS[driver](Endpoint.inherited(number))
        assert isinstance(channel.endpoint, Endpoint)
        close_channel(channel)


@linux_only
@drivers
def test_framing_must_match_the_type_of_the_socket(driver: str) -> None:
    ours, number = pair(socket.SOCK_SEQPACKET)
    with ours:
        where = Endpoint.inherited(number)
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="framing=NATIVE"):
            DOORS[driver](where)
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="framing=NATIVE"):
            MESSAGE_DOORS[driver](where)
        close_channel(MESSAGE_DOORS[driver](where, framing=ipcpipes.NATIVE))
    ours, number = pair()
    with ours:
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="leave framing"):
            MESSAGE_DOORS[driver](Endpoint.inherited(number), framing=ipcpipes.NATIVE)
        os.close(number)


def close_channel(channel: Any) -> None:
    if isinstance(channel, ipcpipes.abc.MessageChannel):
        trio.run(channel.aclose)
    else:
        channel.close()


@drivers
def test_datagram_and_listening_sockets_are_refused(driver: str, short_tmp: Path) -> None:
    datagrams, number = pair(socket.SOCK_DGRAM)
    with datagrams, left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint):
        DOORS[driver](Endpoint.inherited(number))
    os.close(number)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_tmp / "s"))
        listening.listen()
        number = copy(listening.fileno())
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="listen takes it"):
            DOORS[driver](Endpoint.inherited(number))
        os.close(number)


@linux_only
@drivers
def test_unconnected_socket_is_refused(driver: str) -> None:
    with socket.socket(socket.AF_UNIX) as lonely:
        number = copy(lonely.fileno())
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="not connected"):
            DOORS[driver](Endpoint.inherited(number))
        os.close(number)


@drivers
def test_default_timeout_of_sockets_has_no_effect(driver: str) -> None:
    ours, number = pair()
    socket.setdefaulttimeout(10)
    try:
        with ours, left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint):
            LISTENERS["blocking"](Endpoint.inherited(number))
        stream = DOORS[driver](Endpoint.inherited(number))
    finally:
        socket.setdefaulttimeout(None)
    close(stream)


@drivers
def test_listen_takes_only_listening_sockets(driver: str) -> None:
    ours, number = pair()
    where = Endpoint.inherited(number)
    with ours, left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="connect takes it"):
        LISTENERS[driver](where)
    os.close(number)
    receiving, sending = os.pipe()
    os.set_inheritable(receiving, True)
    where = Endpoint.inherited(receiving)
    with left_alone(receiving), pytest.raises(ipcpipes.NotAnEndpoint, match="not a socket"):
        LISTENERS[driver](where)
    os.close(receiving)
    os.close(sending)
    with pytest.raises(ipcpipes.EndpointNotFound, match="pass it on"):
        LISTENERS[driver](Endpoint.inherited(99_999))


LISTENER_USERS = {
    "trio": """
        import trio, ipcpipes
        async def main():
            where = ipcpipes.Endpoint.inherited(sys.argv[1])
            async with await ipcpipes.listen(where) as listener:
                async with await listener.accept() as stream:
                    await stream.send_all(listener.address.encode())
        trio.run(main)
        """,
    "blocking": """
        from ipcpipes import Endpoint, blocking
        with blocking.listen(Endpoint.inherited(sys.argv[1])) as listener:
            with listener.accept() as stream:
                stream.send_all(listener.address.encode())
        """,
}


@pytest.mark.parametrize("user", LISTENER_USERS)
def test_child_takes_over_a_listening_socket(user: str, short_tmp: Path) -> None:
    path = short_tmp / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with inheriting_child(LISTENER_USERS[user], str(listening.fileno())) as child:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                assert client.recv(1000) == str(path).encode()
            assert child.wait() == 0
        assert path.is_socket(), "only the program that made the file removes it"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # the socket still listens
