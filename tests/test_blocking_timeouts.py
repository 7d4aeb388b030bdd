"""timeout= of every operation: in time, nothing lost, and broken if a part was sent."""

from __future__ import annotations

import math
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .children import SECONDS
from .conftest import WINDOWS
from .threads import (
    Worker,
    at_most,
    channel_pair,
    framings,
    receive_all,
    receive_exactly,
    settle,
    stream_pair,
)

ENOUGH = bytes(10_000_000)  # more than any system accepts at once

RECEIVES: dict[str, Callable[..., Any]] = {
    "some": lambda stream, timeout: stream.receive_some(timeout=timeout),
    "into": lambda stream, timeout: stream.receive_into(bytearray(10), timeout=timeout),
}


@pytest.mark.parametrize("timeout", [0, 0.02, 0.15])
@pytest.mark.parametrize("receive", RECEIVES.values(), ids=RECEIVES)
def test_receive_times_out(receive: Callable[..., Any], timeout: float) -> None:
    client, server = stream_pair()
    with client, server:
        for _ in range(3):
            with at_most(SECONDS), pytest.raises(TimeoutError, match=f"within {timeout:g} s"):
                receive(client, timeout)
        server.send_all(b"abc")
        assert client.receive_some(timeout=SECONDS) == b"abc"


def test_zero_timeout_returns_available_data() -> None:
    client, server = stream_pair()
    with client, server:
        server.send_all(b"abcdef")
        assert client.receive_some(3, timeout=0) == b"abc"
        assert client.receive_some(timeout=math.inf) == b"def"
        client.send_all(b"back", timeout=0)
        assert receive_exactly(server, 4) == b"back"
        server.close()
        assert client.receive_some(timeout=0) == b""


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_many_short_timeouts_lose_nothing(framing: Any) -> None:
    client, server = channel_pair(framing)
    messages = [bytes([number]) * size for number in range(10) for size in (0, 3, 3000, 100_000)]

    def send() -> None:
        for number, message in enumerate(messages):
            if number % 5 == 0:
                time.sleep(0.01)
            client.send(message)

    with client, server:
        sending = Worker(send)
        got: list[bytes] = []
        timeouts = 0
        while len(got) < len(messages):
            try:
                if len(got) % 2:
                    got.append(server.receive(timeout=0.0005 * (timeouts % 3)))
                else:
                    got += server.receive_many(timeout=0.0005 * (timeouts % 3))
            except TimeoutError:
                timeouts += 1
        sending.result()
        assert got == messages
        assert timeouts


def test_timeout_inside_a_message_keeps_the_part() -> None:
    left, right = stream_pair()
    with blocking.MessageChannel(left) as channel, right:
        message = bytes(range(256)) * 160  # fits into the buffer of the system
        wire = struct.pack("<I", len(message)) + message
        for start, end in ((0, 2), (2, 5), (5, 6), (6, 30_000)):
            right.send_all(wire[start:end])
            with pytest.raises(TimeoutError, match="nothing was received"):
                channel.receive(timeout=0.05)
        right.send_all(wire[30_000:])
        assert channel.receive(timeout=SECONDS) == message


def test_send_timed_out_half_way_breaks_the_stream() -> None:
    client, server = stream_pair()
    with client, server:
        with at_most(SECONDS), pytest.raises(TimeoutError, match=r"sent within 0\.05 s"):
            client.send_all(ENOUGH, timeout=0.05)
        for timeout in (None, 0, 1):
            with pytest.raises(trio.BrokenResourceError, match="interrupted"):
                client.send_all(b"x", timeout=timeout)
        if not WINDOWS:
            with pytest.raises(trio.BrokenResourceError, match="interrupted"):
                client.send_eof()
        server.send_all(b"the other direction goes on")
        assert client.receive_some() == b"the other direction goes on"
        client.close()
        assert len(receive_all(server)) < len(ENOUGH)


@pytest.mark.skipif(WINDOWS, reason="Windows does not tell how much of a write it took")
def test_send_timed_out_before_first_byte_changes_nothing() -> None:
    client, server = stream_pair()
    with client, server:
        sent = 0
        while True:
            try:
                client.send_all(b"x", timeout=0)
            except TimeoutError:
                break
            sent += 1
        for timeout in (0, 0.02):
            with pytest.raises(TimeoutError):
                client.send_all(b"y", timeout=timeout)
        receiving = Worker(receive_all, server)
        client.send_all(b"z", timeout=SECONDS)
        client.close()
        assert receiving.result() == b"x" * sent + b"z"


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_channel_send_times_out(framing: Any) -> None:
    client, server = channel_pair(framing)
    message = bytes(100_000)
    with client, server:
        sent = 0
        with at_most(SECONDS), pytest.raises(TimeoutError):
            while True:
                client.send(message, timeout=0.05)
                sent += 1
        got = [server.receive(timeout=SECONDS) for _ in range(sent)]
        assert got == [message] * sent
        try:
            client.send(b"more", timeout=SECONDS)
        except trio.BrokenResourceError:
            with pytest.raises(trio.BrokenResourceError, match="interrupted"):
                client.send_many([b"more"])
        else:
            assert server.receive() == b"more", "nothing of the message was left over"
        server.send(b"the other direction goes on")
        assert client.receive() == b"the other direction goes on"


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_batch_timed_out_half_way_breaks_the_channel(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        with pytest.raises(TimeoutError):
            client.send_many([bytes(100_000)] * 200, timeout=0.05)
        with pytest.raises(trio.BrokenResourceError):
            client.send(b"x")


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_timeout_includes_waiting_for_other_senders(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        first = Worker(client.send_many, [bytes(100_000)] * 200)
        settle()
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match="other threads were sending"):
                client.send(b"in between", timeout=timeout)
        for _ in range(200):
            assert server.receive(timeout=SECONDS) == bytes(100_000)
        first.result()
        client.send(b"afterwards", timeout=0)
        assert server.receive() == b"afterwards"


def test_accept_times_out() -> None:
    with blocking.listen(unique_endpoint(), max_instances=1) as listener:
        for timeout in (0, 0.02, 0.15):
            with at_most(SECONDS), pytest.raises(TimeoutError, match="no client came within"):
                listener.accept(timeout=timeout)
        with blocking.connect(listener.endpoint) as client, listener.accept(timeout=0) as server:
            for timeout in (0, 0.02):
                with pytest.raises(TimeoutError):
                    listener.accept(timeout=timeout)
            client.send_all(b"x")
            assert server.receive_some(timeout=0) == b"x"


@pytest.mark.parametrize("timeout", ["1", True, [], math.nan, -1, -math.inf])
def test_bad_timeouts_are_refused(timeout: Any) -> None:
    client, server = stream_pair()
    with blocking.MessageChannel(client) as channel, server:
        with blocking.listen_messages(unique_endpoint(), backlog=1) as listener:
            for operation in (
                lambda: server.receive_some(timeout=timeout),
                lambda: server.receive_into(bytearray(1), timeout=timeout),
                lambda: server.send_all(b"x", timeout=timeout),
                lambda: channel.send(b"x", timeout=timeout),
                lambda: channel.send_many([], timeout=timeout),
                lambda: channel.receive(timeout=timeout),
                lambda: channel.receive_many(timeout=timeout),
                lambda: listener.accept(timeout=timeout),
            ):
                with pytest.raises((TypeError, ValueError), match="timeout must be"):
                    operation()


def test_longest_timeouts_work() -> None:
    client, server = stream_pair()
    with client, server:
        for timeout in (10**9, sys.float_info.max, math.inf, 10**400):
            waiting = Worker(client.receive_some, timeout=timeout)
            settle()
            server.send_all(b"x")
            assert waiting.result() == b"x"
            client.send_all(b"y", timeout=timeout)
            assert server.receive_some(timeout=timeout) == b"y"
