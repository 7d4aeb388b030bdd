"""Signal handlers that raise at any step of a blocking operation: no data is mixed or lost."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from campaigns.message_interrupts import ATTACKS
from ipcpipes import Framing, LengthPrefixed, blocking
from ipcpipes.framing import Splitter
from ipcpipes.testing import unique_endpoint

from .conftest import WINDOWS
from .threads import plain_child

_PROGRAM = """
import sys
from campaigns.message_interrupts import run
print(run(3, sys.argv[1:]))
"""


@pytest.mark.parametrize("attack", ATTACKS)
def test_interrupted_messages_arrive_whole_and_in_order(attack: str) -> None:
    ran = subprocess.run(
        (sys.executable, "-c", _PROGRAM, attack),
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stdout.startswith("0 interrupts"), ran.stdout


class _Interrupted(BaseException):
    """What a signal handler raises."""


class _Late:
    """A stream of another library that is interrupted when the bytes have arrived."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.interrupts = True

    def send_all(self, data: Any, *, timeout: float | None = None) -> None:
        self._stream.send_all(data, timeout=timeout)

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        data: bytes = self._stream.receive_some(max_bytes, timeout=timeout)
        if self.interrupts:
            self.interrupts = False
            raise _Interrupted
        return data

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _streams() -> Iterator[tuple[Any, Any]]:
    with (
        blocking.listen(unique_endpoint()) as listener,
        blocking.connect(listener.endpoint) as ours,
        listener.accept() as theirs,
    ):
        yield ours, theirs


def test_interrupted_foreign_stream_breaks_receiving() -> None:
    with _streams() as (ours, theirs):
        late = _Late(ours)
        channel = blocking.MessageChannel(late)
        with pytest.raises(TimeoutError):  # it loses nothing
            channel.receive(timeout=0)
        theirs.send_all(b"\x03\x00\x00\x00one")
        with pytest.raises(_Interrupted):
            channel.receive()
        theirs.send_all(b"\x03\x00\x00\x00two")
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="interrupted"):
                channel.receive()


class _Halting(Framing):
    """A splitter that is interrupted in the middle of a step."""

    max_size = 100

    def frame(self, message: Any) -> list[Any]:
        return list(LengthPrefixed().frame(message))

    def splitter(self) -> Any:
        splitter: Any = LengthPrefixed().splitter()

        class Halting(Splitter):
            def split(self, data: bytes) -> Iterator[bytes]:
                yield from splitter.split(data)
                raise _Interrupted

            def end(self) -> None: ...

        return Halting()


def test_interrupted_splitter_is_not_used_again() -> None:
    with _streams() as (ours, theirs):
        channel = blocking.MessageChannel(ours, _Halting())
        theirs.send_all(b"\x03\x00\x00\x00one\x03\x00\x00\x00tw")
        with pytest.raises(_Interrupted):
            channel.receive()
        theirs.send_all(b"o")
        assert channel.receive() == b"one"  # it was complete
        with pytest.raises(trio.BrokenResourceError, match="interrupted"):
            channel.receive()


def test_handlers_timeout_error_half_way_breaks_sending() -> None:
    """The error does not show whether the deadline has passed before anything was sent."""
    with _streams() as (ours, theirs):
        channel = blocking.MessageChannel(ours)
        put = ours._put

        def interrupted(data: Any, deadline: Any) -> None:
            put(data, deadline)
            raise TimeoutError("an alarm")

        ours._put = interrupted
        with pytest.raises(TimeoutError, match="an alarm"):
            channel.send(bytes(70_000))  # its length is sent first, alone
        ours._put = put
        with pytest.raises(trio.BrokenResourceError, match="interrupted"):
            channel.send(b"x")
        assert theirs.receive_some() == (70_000).to_bytes(4, "little")


@pytest.mark.skipif(WINDOWS, reason="a signal does not end a wait of the system there")
@pytest.mark.parametrize("kind", ["stream", "channel", "pipe"])
def test_handlers_timeout_error_is_raised_unchanged(kind: str) -> None:
    program = """
        def handler(*_):
            raise TimeoutError("an alarm")
        signal.signal(signal.SIGALRM, handler)
        pipe, sending = blocking.open_anonymous_pipe()
        with blocking.listen(sys.argv[1]) as listener:
            client, server = blocking.connect(sys.argv[1]), listener.accept()
        ends = {"stream": client, "channel": blocking.MessageChannel(client), "pipe": pipe}
        receive = ends[sys.argv[2]]
        receive = receive.receive if sys.argv[2] == "channel" else receive.receive_some
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            receive()
        except TimeoutError as error:
            say(str(error))
        for end in (client, server, pipe, sending):
            end.close()
        """
    with plain_child(
        "import os, signal\n" + textwrap.dedent(program), unique_endpoint().name, kind
    ) as child:
        assert child.hear() == "an alarm"
        assert child.wait() == 0
