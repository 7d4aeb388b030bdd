"""The cases: what is measured, the rivals, and the goal for each ratio.

A new case is an entry of :data:`CASES`. A new rival is an entry of the ``rivals`` of a case, with a
program in ``contenders/``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

KIB = 1024
MIB = 1024 * KIB

Placement = Literal["free", "together", "apart"]
Role = Literal["server", "client"]
Heap = Literal["young", "old"]


@dataclass(frozen=True)
class Unit:
    """Converts the growth in a round (seconds or bytes) to the figure that is compared."""

    name: str
    higher_is_better: bool
    figure: Callable[[float, int, int], float]  # of the growth, count and size

    def meets(self, figure: float, goal: float) -> bool:
        return figure >= goal if self.higher_is_better else figure <= goal


GIGABYTES = Unit("GB/s", True, lambda seconds, count, size: count * size / seconds / 1e9)
PER_SECOND = Unit("/s", True, lambda seconds, count, size: count / seconds)
THOUSANDS = Unit("k/s", True, lambda seconds, count, size: count / seconds / 1e3)
MICROSECONDS = Unit("us", False, lambda seconds, count, size: seconds / count * 1e6)
KIBIBYTES = Unit("KiB", False, lambda grown, count, size: grown / count / KIB)


@dataclass(frozen=True)
class Contender:
    """A program of ``contenders/``, and how many things it uses: the connections that it uses in
    turn, or the calls that it has in flight.
    """

    program: str
    number: int = 1
    things: str = "connections"

    def __str__(self) -> str:
        return (
            self.program if self.number == 1 else f"{self.program}, {self.number:,} {self.things}"
        )


Goals = Mapping[Contender, float | None]


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        name: for ``--only``, the table and the JSON.
        title: for the chart.
        scenario: what the two ends do; the name that the programs of the contenders use.
        size: bytes in a chunk or message.
        placement: where the ends run. ``"together"`` is one CPU for both; otherwise a round
            trip measures how fast the machine wakes an idle core and not what the program
            costs. ``"free"`` lets the system choose, which for throughput gives one of two very
            different results; ``"apart"`` (``--apart``) is two CPUs, and steadier.
        first_count: operations in the first round, which warms up and measures how long one takes.
        rivals: the contenders that the subject is compared with, and the goal for each ratio of
            the figures (subject to rival); ``None`` for no goal.
        subject: the contender that the goals are about.
        limit: the goal for the figure of the subject itself.
        count: operations in every round after the first; ``None`` for as many as fill the time.
        meter: the end that measures.
        capacity: bytes that fit into the pipe(2) between the two processes, which inherit its ends;
            ``None`` if they connect by themselves.
        child: a C program of ``contenders/`` that the client starts; there is no server then.
        heap: the state of the C library's allocator: that of a new process (``"young"``), or of
            one that has freed something large before (``"old"``). With glibc this decides whether
            large buffers cost page faults each time, which is half the time of an asyncio round
            trip and four fifths of a large message in most of the rivals.
    """

    name: str
    title: str
    scenario: str
    size: int
    unit: Unit
    placement: Placement
    first_count: int
    rivals: Goals
    subject: Contender = Contender("ipcpipes")
    limit: float | None = None
    count: int | None = None
    meter: Role = "client"
    heap: Heap = "young"
    capacity: int | None = None
    child: str | None = None

    @property
    def roles(self) -> tuple[Role, ...]:
        return ("server", "client") if self.child is None else ("client",)

    @property
    def contenders(self) -> tuple[Contender, ...]:
        return (*self.rivals, self.subject)


def _rivals(goals: Mapping[str, float | None]) -> Goals:
    return {Contender(program): goal for program, goal in goals.items()}


def _bulk(name: str, title: str, size: int, goal: float) -> Case:
    return Case(
        name,
        title,
        scenario="bulk",
        size=size,
        unit=GIGABYTES,
        placement="free",
        first_count=64 * MIB // size,
        rivals=_rivals({"C": goal, "trio.SocketStream": None}),
    )


def _pipe(name: str, title: str, size: int, capacity: int) -> Case:
    return Case(
        name,
        title,
        scenario="pipe",
        size=size,
        unit=GIGABYTES,
        placement="free",
        first_count=64 * MIB // size,
        rivals=_rivals(
            {
                "C": 0.95,
                "os.write, os.readv": None,
                "trio.lowlevel.FdStream": None,
                "multiprocessing.Pipe": None,
                "ipcpipes.blocking": None,
            }
        ),
        # The receiver keeps the time: the round ends with the last byte, without an answer.
        meter="server",
        capacity=capacity,
    )


def _medium(name: str, title: str, size: int) -> Case:
    return Case(
        name,
        title,
        scenario="messages",
        size=size,
        unit=GIGABYTES,
        placement="free",
        first_count=1000,
        rivals=_rivals({"C": None, "asyncio streams": None, "ipcpipes.blocking": None}),
        heap="old",
    )


def _large(name: str, title: str, heap: Heap) -> Case:
    return Case(
        name,
        title,
        scenario="messages",
        size=MIB,
        unit=GIGABYTES,
        placement="free",
        first_count=64,
        rivals=_rivals(
            {
                "C": None,
                "trio.SocketStream + frames": None,
                "trio.SocketStream + frames, buffered": None,
                "asyncio streams": None,
                "asyncio streams, uvloop": None,
                "multiprocessing.connection": 2.5,
                "pyzmq": None,
                "grpcio": None,
                "ipcpipes.blocking": None,
            }
        ),
        heap=heap,
    )


BYTES = (
    _bulk("bulk-64k", "Bytes one way, 64 KiB a call", 64 * KIB, 1.5),
    _bulk("bulk-1m", "Bytes one way, 1 MiB a call", MIB, 2.0),
    Case(
        "connect",
        "Connections made and closed",
        scenario="connect",
        size=0,
        unit=PER_SECOND,
        placement="together",
        first_count=200,
        rivals=_rivals({"trio.socket": 0.9}),
    ),
    Case(
        "roundtrip-64",
        "Round trip of 64 bytes",
        scenario="roundtrip",
        size=64,
        unit=MICROSECONDS,
        placement="together",
        first_count=1000,
        rivals=_rivals({"C": None, "bare trio": None, "trio.SocketStream": 0.6}),
    ),
)

MESSAGES = (
    Case(
        "message-roundtrip-64",
        "Round trip of a 64-byte message, in an event loop",
        scenario="message-roundtrip",
        size=64,
        unit=MICROSECONDS,
        placement="together",
        first_count=500,
        rivals=_rivals(
            {
                "C": None,
                "trio.SocketStream + frames": 0.5,
                "trio.SocketStream + frames, buffered": None,
                "asyncio streams": 1.35,
                "asyncio streams, uvloop": None,
            }
        ),
        heap="old",
    ),
    Case(
        "message-transact-64",
        "Round trip of a 64-byte message by `transact` and `send_nowait`, in an event loop",
        scenario="message-roundtrip",
        size=64,
        unit=MICROSECONDS,
        placement="together",
        first_count=500,
        rivals=_rivals(
            {
                "C": None,
                "ipcpipes": None,
                "asyncio streams": 0.9,
                "asyncio streams, uvloop": None,
            }
        ),
        subject=Contender("ipcpipes, transact"),
        heap="old",
    ),
    Case(
        "message-roundtrip-64-blocking",
        "Round trip of a 64-byte message, blocking",
        scenario="message-roundtrip",
        size=64,
        unit=MICROSECONDS,
        placement="together",
        first_count=500,
        rivals=_rivals(
            {
                "C": 1.35,
                "ipcpipes.blocking, transact": None,
                "multiprocessing.connection": 0.8,
                "pyzmq": None,
                "grpcio": None,
            }
        ),
        subject=Contender("ipcpipes.blocking"),
        heap="old",
    ),
    Case(
        "messages-64",
        "64-byte messages one way, each sent by itself",
        scenario="messages",
        size=64,
        unit=THOUSANDS,
        placement="free",
        first_count=5000,
        rivals=_rivals(
            {
                "C": None,
                "trio.SocketStream + frames": 4.0,
                "trio.SocketStream + frames, buffered": None,
                "asyncio streams": None,
                "asyncio streams, uvloop": None,
                "multiprocessing.connection": None,
                "pyzmq": None,
                "ipcpipes.blocking": None,
            }
        ),
        heap="old",
    ),
    Case(
        "messages-nowait-64",
        "64-byte messages one way, each by `send_nowait`",
        scenario="messages",
        size=64,
        unit=THOUSANDS,
        placement="free",
        first_count=20_000,
        rivals=_rivals(
            {
                "C": None,
                "ipcpipes": None,
                "asyncio streams": 8.0,
                "asyncio streams, uvloop": None,
                "pyzmq": 3.0,
            }
        ),
        subject=Contender("ipcpipes, send_nowait"),
        heap="old",
    ),
    Case(
        "message-batches-64",
        "64-byte messages one way, 256 a call",
        scenario="message-batches",
        size=64,
        unit=THOUSANDS,
        placement="free",
        first_count=20_000,
        rivals=_rivals({"C": None, "pyzmq": 4.0, "ipcpipes.blocking": None}),
        heap="old",
    ),
    # The second is as large as one read; it must not cost more for each byte.
    _medium("messages-56k", "Messages of 57,344 bytes one way", 56 * KIB),
    _medium("messages-64k", "Messages of 65,532 bytes one way", 64 * KIB - 4),
    _large("messages-1m", "1 MiB messages one way", "old"),
    _large("messages-1m-young", "1 MiB messages one way, in young processes", "young"),
    Case(
        "crowd-64",
        "Round trips over many connections in turn",
        scenario="crowd",
        size=64,
        unit=MICROSECONDS,
        placement="together",
        first_count=1000,
        rivals={
            Contender("asyncio streams", 10): None,
            Contender("asyncio streams", 1000): None,
            Contender("multiprocessing.connection", 10): None,
            Contender("multiprocessing.connection", 1000): None,
            Contender("ipcpipes", 10): 1.2,
            Contender("ipcpipes", 100): None,
        },
        subject=Contender("ipcpipes", 1000),
        heap="old",
    ),
)

CALLS = (
    Case(
        "rpc-call",
        "A call with 64 bytes there and back, in an event loop",
        scenario="rpc-call",
        size=64,
        unit=MICROSECONDS,
        placement="together",
        first_count=300,
        rivals=_rivals({"grpcio": 0.13, "multiprocessing.Manager": None}),
        subject=Contender("ipcpipes.rpc"),
        heap="old",
    ),
    Case(
        "rpc-call-blocking",
        "A call with 64 bytes there and back, blocking",
        scenario="rpc-call",
        size=64,
        unit=MICROSECONDS,
        placement="together",
        first_count=300,
        rivals=_rivals({"multiprocessing.Manager": 0.7, "grpcio": None}),
        subject=Contender("ipcpipes.rpc.blocking"),
        heap="old",
    ),
    Case(
        "rpc-calls-64",
        "Calls with 64 bytes there and back, 64 in flight",
        scenario="rpc-calls",
        size=64,
        unit=THOUSANDS,
        placement="free",
        first_count=1000,
        rivals=_rivals({"grpcio": 24.0}),
        subject=Contender("ipcpipes.rpc"),
        heap="old",
    ),
    Case(
        "rpc-calls-3000",
        "Calls in flight: more than the server accepts at a time (1,024)",
        scenario="rpc-calls",
        size=64,
        unit=THOUSANDS,
        placement="free",
        first_count=5000,
        rivals={Contender("ipcpipes.rpc", 1000, "calls"): 0.9},
        subject=Contender("ipcpipes.rpc", 3000, "calls"),
        heap="old",
    ),
    Case(
        "rpc-pipe-1m",
        "Through a pipe of a call, 1 MiB a chunk",
        scenario="bulk",
        size=MIB,
        unit=GIGABYTES,
        placement="free",
        first_count=64,
        rivals=_rivals({"C": 0.8, "grpcio": 5.0, "ipcpipes": 0.9}),
        subject=Contender("ipcpipes.rpc"),
        heap="old",
    ),
    Case(
        "rpc-elements-64",
        "Elements of 64 bytes, pushed one by one into a pipe of a call",
        scenario="elements",
        size=64,
        unit=THOUSANDS,
        placement="free",
        first_count=20_000,
        rivals={},
        subject=Contender("ipcpipes.rpc"),
        limit=500.0,
        heap="old",
    ),
    *(
        Case(
            f"rpc-values-{direction}-64",
            f"Values of 64 bytes, in a stream of a call to the {other}",
            scenario=f"values-{direction}",
            size=64,
            unit=THOUSANDS,
            placement="free",
            first_count=5000,
            rivals=_rivals({"grpcio": 5.0, "ipcpipes.rpc.blocking": None}),
            subject=Contender("ipcpipes.rpc"),
            heap="old",
        )
        for direction, other in (("in", "server"), ("out", "client"))
    ),
)

# Such a chunk fills the pipe, so the ends take turns. For every contender a large part of the time
# is how fast the machine wakes an idle core.
PIPES = (
    _pipe(
        "pipe-64k",
        "Bytes through an anonymous pipe, 64 KiB a call",
        64 * KIB,
        64 * KIB,
    ),
    _pipe(
        "pipe-1m",
        "Bytes through an anonymous pipe, 1 MiB a call",
        MIB,
        64 * KIB,
    ),
)

# For systems where the capacity of a pipe can be chosen.
WIDE_PIPES = (
    _pipe("pipe-64k-wide", "Through a pipe that holds 1 MiB, 64 KiB a call", 64 * KIB, MIB),
    _pipe("pipe-1m-wide", "Through a pipe that holds 1 MiB, 1 MiB a call", MIB, MIB),
)

CHILDREN = (
    Case(
        "child",
        "Starting a child, to the first byte that comes back from it",
        scenario="child",
        size=1,
        unit=MICROSECONDS,
        placement="together",
        first_count=20,
        rivals=_rivals({"subprocess.Popen": 1.15, "trio.lowlevel.open_process": None}),
        child="echo_child",
    ),
    Case(
        "child-blocking",
        "Starting a child without an event loop, to the first byte that comes back from it",
        scenario="child",
        size=1,
        unit=MICROSECONDS,
        placement="together",
        first_count=20,
        rivals=_rivals({"subprocess.Popen": 1.08}),
        subject=Contender("ipcpipes.blocking"),
        child="echo_child",
    ),
)

# For systems that report the private memory of a process.
MEMORY = (
    Case(
        "idle",
        "Memory of the server for each of 1,000 idle connections",
        scenario="idle",
        size=64,
        unit=KIBIBYTES,
        placement="free",
        # The first connections load code and data, which is not counted.
        first_count=10,
        rivals=_rivals({"asyncio streams": None, "multiprocessing.connection": None}),
        limit=8.0,
        count=1000,
        meter="server",
    ),
)

LINUX = (*WIDE_PIPES, *MEMORY)

CASES = (*BYTES, *MESSAGES, *CALLS, *PIPES, *CHILDREN, *(LINUX if sys.platform == "linux" else ()))
