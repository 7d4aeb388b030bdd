"""Endpoint.inherited: a process takes over descriptors and handles of its parent, on every system.

This process plays the child: it has an inheritable copy, as after exec.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint, blocking

from .conftest import WINDOWS
from .test_handing_over import close, receive_some, send_all

Door = Callable[..., Any]


def in_trio(door: Callable[..., Any]) -> Door:
    return lambda *arguments, **options: trio.run(partial(door, *arguments, **options))


DOORS: dict[str, Door] = {"trio": in_trio(ipcpipes.connect), "blocking": blocking.connect}
MESSAGE_DOORS: dict[str, Door] = {
    "trio": in_trio(ipcpipes.connect_messages),
    "blocking": blocking.connect_messages,
}
LISTENERS: dict[str, Door] = {"trio": in_trio(ipcpipes.listen), "blocking": blocking.listen}
drivers = pytest.mark.parametrize("driver", DOORS)


def copy(number: int) -> int:
    """Returns an inheritable copy of the descriptor or handle."""
    if sys.platform == "win32":
        import _winapi

        process = _winapi.GetCurrentProcess()
        same_access = 2
        return _winapi.DuplicateHandle(process, number, process, 0, True, same_access)
    fd = os.dup(number)
    os.set_inheritable(fd, True)
    return fd


def close_number(number: int) -> None:
    if sys.platform == "win32":
        import _winapi

        _winapi.CloseHandle(number)
    else:
        os.close(number)


def is_inheritable(number: int) -> bool:
    """Returns whether children inherit it; raises OSError if it is not open."""
    if sys.platform == "win32":
        return os.get_handle_inheritable(number)
    return os.get_inheritable(number)


def is_blocking(number: int) -> bool:
    return sys.platform == "win32" or os.get_blocking(number)


@contextmanager
def left_alone(number: int) -> Iterator[None]:
    blocks = is_blocking(number)
    yield
    assert is_inheritable(number)
    assert is_blocking(number) == blocks


@contextmanager
def inherited_ends() -> Iterator[tuple[int, int]]:
    """Yields numbers of (receive end, send end). Streams close the ends that they take over."""
    ends = blocking.open_anonymous_pipe()
    numbers = tuple(copy(int(end.endpoint.name)) for end in ends)
    close(*ends)
    yield numbers[0], numbers[1]
    for number in numbers:
        try:
            if is_inheritable(number):
                close_number(number)
        except OSError:
            pass


@drivers
def test_both_ends_of_a_pipe_can_be_taken_over(driver: str) -> None:
    with inherited_ends() as (receiving, sending):
        connect = DOORS[driver]
        receiver = connect(Endpoint.inherited(receiving), direction="receive")
        sender = connect(Endpoint.inherited(str(sending)), direction="send")
        for end, number in ((receiver, receiving), (sender, sending)):
            assert end.endpoint == Endpoint.inherited(number)
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
def test_inherited_end_can_be_handed_over(driver: str) -> None:
    with inherited_ends() as (receiving, _):
        end = DOORS[driver](Endpoint.inherited(receiving), direction="receive")
        assert end.hand_over() == str(receiving)
        close(end)


@drivers
def test_inherited_end_is_taken_over_once(driver: str) -> None:
    with inherited_ends() as (receiving, _):
        where = Endpoint.inherited(receiving)
        with DOORS["blocking"](where, direction="receive") as stream:
            for direction in ("receive", "send", "duplex"):
                with pytest.raises(ipcpipes.EndpointNotFound, match="taken over before"):
                    DOORS[driver](where, direction=direction)
            with pytest.raises(TimeoutError):
                stream.receive_some(timeout=0)  # the stream still works


@drivers
def test_end_opened_in_this_process_is_not_inherited(driver: str) -> None:
    receiver, sender = blocking.open_anonymous_pipe()
    with receiver, sender:
        with pytest.raises(ipcpipes.EndpointNotFound, match="not inherited"):
            DOORS[driver](receiver.endpoint, direction="receive")
        sender.send_all(b"x")
        assert receiver.receive_some() == b"x"


@drivers
@pytest.mark.parametrize("number", [2**16 + 12_345 * 4, 2**31 - 4, 2**31, 2**40, 10**19 - 1])
def test_number_of_no_descriptor_is_not_found(driver: str, number: int) -> None:
    for door in (DOORS[driver], MESSAGE_DOORS[driver]):
        # It cannot appear later, so connect does not wait.
        with pytest.raises(ipcpipes.EndpointNotFound, match="its parent has to pass it on"):
            door(Endpoint.inherited(number), wait=3600)


def test_invalid_numbers_are_refused() -> None:
    for text in ("", "-1", "+1", " 1", "1 ", "0x10", "1.0", "one", "1" * 20, "\u0663"):
        with pytest.raises(ipcpipes.InvalidEndpoint, match="decimal digits"):
            Endpoint.inherited(text)
    with pytest.raises(ipcpipes.InvalidEndpoint):
        Endpoint.inherited(-1)
    for wrong in (True, None, 1.0, b"1"):
        with pytest.raises(TypeError):
            Endpoint.inherited(wrong)  # type: ignore[arg-type]


@drivers
def test_pipe_in_the_other_direction_is_denied(driver: str) -> None:
    with inherited_ends() as (receiving, sending):
        for number, wrong in ((receiving, "send"), (sending, "receive")):
            with left_alone(number), pytest.raises(ipcpipes.EndpointDenied, match=f'to "{wrong}"'):
                DOORS[driver](Endpoint.inherited(number), direction=wrong)


@drivers
def test_one_way_pipe_is_not_a_duplex_connection(driver: str) -> None:
    with inherited_ends() as (receiving, sending):
        for number in (receiving, sending):
            way = "receive" if number == receiving else "send"
            refused = pytest.raises(ipcpipes.NotAnEndpoint, match=f'direction="{way}"')
            with left_alone(number), refused:
                DOORS[driver](Endpoint.inherited(number))
            with left_alone(number), refused:
                MESSAGE_DOORS[driver](Endpoint.inherited(number))
        if sys.platform in ("linux", "win32"):
            with left_alone(receiving), pytest.raises(ipcpipes.NotAnEndpoint):
                MESSAGE_DOORS[driver](Endpoint.inherited(receiving), framing=ipcpipes.NATIVE)


@drivers
@pytest.mark.parametrize("direction", ["send", "receive", "duplex"])
def test_inherited_file_is_refused(driver: str, direction: str) -> None:
    with tempfile.TemporaryFile() as file:
        number = copy(number_of(file.fileno()))
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match=r"neither|not a pipe"):
            DOORS[driver](Endpoint.inherited(number), direction=direction)
        close_number(number)


@drivers
@pytest.mark.parametrize("direction", ["send", "receive", "duplex"])
def test_inherited_network_socket_is_refused(driver: str, direction: str) -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname()) as client:
            number = client.fileno()
            if sys.platform == "win32":
                os.set_handle_inheritable(number, True)
            else:
                os.set_inheritable(number, True)
            with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="this is not a"):
                DOORS[driver](Endpoint.inherited(number), direction=direction)
            client.sendall(b"usable")


def number_of(fd: int) -> int:
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.get_osfhandle(fd)
    return fd


@pytest.mark.skipif(not WINDOWS, reason="POSIX takes a listening socket over")
@drivers
def test_listening_handle_is_not_supported(driver: str) -> None:
    with inherited_ends() as (receiving, _):
        with left_alone(receiving), pytest.raises(ipcpipes.NotSupported, match="listens"):
            LISTENERS[driver](Endpoint.inherited(receiving))
