"""One hostile connection: checks its memory at the server against the limit in docs/security.md."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import msgspec
import trio

from ipcpipes import blocking as streams
from ipcpipes.rpc import blocking
from ipcpipes.rpc._trio.transport import joined
from ipcpipes.rpc.definition.operations import Operation
from ipcpipes.rpc.wire.format import Bind, Kind, encode
from ipcpipes.rpc.wire.metadata import MOST_METADATA
from ipcpipes.rpc.wire.ndr import ChunkWriter
from ipcpipes.testing import unique_endpoint

from .memory_service import CALLS, CREDIT, DRIVERS, LARGEST, Held

__all__ = ["BOUND", "NAME", "run"]

NAME = "rpc-memory"
MIB = 2**20

# The limit in docs/security.md, "The defaults, and why". The arguments are bytes here, and are in
# memory twice: encoded and as objects. No operation has more than two pipes.
BOUND = CALLS * (2 * LARGEST + 2 * CREDIT * 5 // 4 + 20 * MOST_METADATA) + 24 * MIB
# How much may be left after the connection has ended.
LEFT = 8 * MIB
# The time of one attack; a connection that breaks the protocol, or is blocked, ends sooner.
ROUND = 5.0  # seconds

_DEFINITION = Held._rpc_definition
# As many short keys as fit: they need the most memory.
_LETTERS = [*map(chr, range(ord("a"), ord("z") + 1)), *map(str, range(10))]
_METADATA = msgspec.msgpack.encode(
    {a + b + c: 1 for a in _LETTERS[:5] for b in _LETTERS for c in _LETTERS[:9]}
)
assert len(_METADATA) <= MOST_METADATA
_NUMBERS = {name: number for number, name in enumerate(_DEFINITION.operations)}
_OPERATIONS = [name for name in _NUMBERS if name != "add"]
_SIZES = (1, 7, 300, 2_048, 2_100, 5_000, 60_000, 65_000, 150_000, 262_000)
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel, TimeoutError)


def run(seconds: float) -> str:
    until = time.monotonic() + seconds
    draw = Random()
    seed = draw.randrange(2**32)
    draw.seed(seed)
    rounds = 0
    peaks = dict.fromkeys(DRIVERS, 0)
    try:
        with _server("trio") as under_trio, _server("blocking") as in_threads:
            servers = {"trio": under_trio, "blocking": in_threads}
            while time.monotonic() < until or rounds < len(DRIVERS):
                driver = DRIVERS[rounds % len(DRIVERS)]
                peak = _round(servers[driver], driver, draw)
                peaks[driver] = max(peaks[driver], peak)
                rounds += 1
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, round {rounds}: {error}") from None
    most = ", ".join(f"{name} {peak / MIB:.1f}" for name, peak in peaks.items())
    return f"{rounds:,} connections took at most {most} of {BOUND / MIB:.0f} MiB"


class _Server:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], endpoint: Any) -> None:
        self.endpoint = endpoint
        self._process = process

    def ask(self, question: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the server has ended with {self._process.wait()}"
        return int(answer)


@contextmanager
def _server(driver: str) -> Iterator[_Server]:
    endpoint = unique_endpoint()
    command = (sys.executable, "-m", "campaigns.memory_service", driver, endpoint.name)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield _Server(process, endpoint)
        finally:
            process.kill()


def _round(server: _Server, driver: str, draw: Random) -> int:
    """Runs one hostile connection, while another client is served. Returns the bytes it took."""
    with blocking.connect(Held, server.endpoint, wait=20) as honest:
        add = blocking.client_of(honest).add.with_options(timeout=30)
        assert add(1, 2) == 3
        server.ask("begin")
        with streams.connect(server.endpoint) as stream:
            hostile = _Hostile(stream, draw)
            with suppress(*_GONE):
                hostile.attack(until=time.monotonic() + ROUND, beside=lambda: add(1, 2))
        peak = server.ask("peak")
        assert peak <= BOUND, f"{driver}: {peak / MIB:.1f} MiB, {hostile.tried}"
        assert add(2, 3) == 5
        deadline = time.monotonic() + 30
        while (left := server.ask("now")) > LEFT:
            assert time.monotonic() < deadline, (
                f"{driver}: {left:,} bytes are left, {hostile.tried}"
            )
            time.sleep(0.05)
    return peak


class _Live:
    """An open call: how much it may still send, and the state of its pipes."""

    def __init__(self, operation: Operation) -> None:
        self.has_out = bool(operation.outs)
        self._left = [
            (index, ChunkWriter(operation.pipes[index].element)) for index in operation.ins
        ]
        self._credit = CREDIT

    def piece(self, call: int, size: int) -> bytes | None:
        """Returns the next frame of its pipe; the end if there is not enough credit."""
        if not self._left:
            return None
        index, writer = self._left[0]
        if size + 32 <= self._credit:
            octets = writer.prefix(size) + bytes(size)
            self._credit -= len(octets)
        else:
            octets = writer.end()
            self._left.pop(0)
            self._credit = CREDIT
        return encode(Kind.PIPE, call, octets, number=index)


class _Hostile:
    """A client that mostly follows the protocol, and makes the server keep as much as possible.

    Attributes:
        tried: how it was set up.
    """

    def __init__(self, stream: Any, draw: Random) -> None:
        self._stream = stream
        self._draw = draw
        self._last = 0
        self._live: dict[int, _Live] = {}
        self._over: list[int] = []
        self._operations = draw.sample(_OPERATIONS, draw.randint(1, len(_OPERATIONS)))
        self._sizes = draw.sample(_SIZES, draw.randint(1, 3))
        self._junk = draw.choice([*_SIZES, 0])
        self._pause = draw.choice([0, 0, 0.0005, 0.001])
        if draw.random() < 0.4:
            # Small kept data inside large ignored data, each read separately.
            self._sizes, self._junk = [draw.choice([2_048, 5_000])], 60_000
            self._operations = ["hold", "defer"]
            self._pause = 0.0007
        self._reads = draw.random() < 0.8
        self._ends_calls = draw.random() < 0.5
        self.tried = (
            f"{'/'.join(self._operations)}, pieces of {self._sizes}, junk of {self._junk}, "
            f"{self._pause} s apart, {'reading' if self._reads else 'not reading'}"
        )

    def attack(self, until: float, beside: Callable[[], object]) -> None:
        """Attacks until that time, or until it cannot send any more.

        Raises:
            Exception: the server has ended the connection, or does not read any more.
        """
        body = Bind(
            1, str(_DEFINITION.uuid), _DEFINITION.version, 2**24, 2**24, metadata=MOST_METADATA
        )
        self._send(encode(Kind.BIND, 0, msgspec.msgpack.encode(body)))
        if self._reads:
            threading.Thread(target=self._read, daemon=True).start()
        self._begin()
        self._end()
        number = 0
        while time.monotonic() < until:
            number += 1
            if number % 50 == 0:
                beside()
            if len(self._live) < CALLS and self._draw.random() < 0.3:
                self._begin()
            else:
                self._step()
            if self._pause:
                time.sleep(self._pause)

    def _read(self) -> None:
        with suppress(*_GONE):
            while self._stream.receive_some():
                pass

    def _send(self, *frames: bytes) -> None:
        self._stream.send_all(joined(frames), timeout=3)

    def _begin(self) -> None:
        name = self._draw.choice(self._operations)
        operation = _DEFINITION.operations[name]
        values = [bytes(self._draw.choice(self._sizes) % 250_000) for _ in operation.types]
        self._last += 1
        body = msgspec.msgpack.encode(values)
        frames = [encode(Kind.REQUEST, self._last, body, number=_NUMBERS[name])]
        if self._draw.random() < 0.5:
            frames.insert(0, encode(Kind.METADATA, self._last, _METADATA))
        self._send(*frames)
        self._live[self._last] = _Live(operation)

    def _end(self) -> None:
        """Orphans a call."""
        call = self._draw.choice([*self._live])
        del self._live[call]
        self._over.append(call)
        self._send(encode(Kind.ORPHANED, call))

    def _step(self) -> None:
        draw = self._draw
        what = draw.random()
        if not self._live or what < 0.02:
            self._send(*[encode(Kind.PING)] * draw.choice([1, 3_000]))
            return
        call = draw.choice([*self._live])
        frames = []
        live = self._live[call]
        if what < 0.9:
            piece = live.piece(call, draw.choice(self._sizes))
            if piece is not None:
                frames.append(piece)
        elif what < 0.95 and self._ends_calls:
            self._end()
        elif what < 0.97 and live.has_out:
            frames.append(encode(Kind.CREDIT, call, amount=2**32 - 1))
        if self._junk:
            # For a call that is over: the server ignores it, but reads it together with kept data.
            frames.append(encode(Kind.PIPE, draw.choice(self._over), bytes(self._junk)))
        self._send(*(frames or [encode(Kind.PING)]))
