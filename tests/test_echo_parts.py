"""The parts of the diagnostic: ledger, figures, report, transfer and second process."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes._cli.echo import process
from ipcpipes._cli.echo.ledger import Ledger
from ipcpipes._cli.echo.measure import SIZES, generated, measure
from ipcpipes._cli.echo.process import AS_CHILD, second_process, server_stream
from ipcpipes._cli.echo.report import (
    as_json,
    as_text,
    percentile,
    readable_size,
    round_trip_figures,
    stream_figures,
)
from ipcpipes._cli.echo.transfer import StreamTransfer
from ipcpipes._cli.failure import ConnectionEnded, Failure, WrongBytes, explain
from ipcpipes.errors import single_errors
from ipcpipes.testing import memory_stream_pair, unique_endpoint

from .echo_runs import LIMIT, as_users_have_it, ended_within, posix_signals
from .programs import trio_program


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        yield directory


# Figures


def test_percentiles_are_measured_values() -> None:
    assert percentile([5.0], 50) == percentile([5.0], 99) == 5.0
    hundred = [float(value) for value in range(1, 101)]
    percents = [1, 50, 90, 99, 100]
    assert [percentile(hundred, percent) for percent in percents] == percents
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 51) == 3.0
    assert percentile([1.0, 2.0], 90) == 2.0


def test_figures_of_round_trips() -> None:
    assert round_trip_figures(10, 25_000_000, [0.3, 0.1, 0.2]) == {
        "message_bytes": 10,
        "count": 3,
        "total_bytes": 25_000_000,
        "seconds": 0.6,
        "p50_us": 200_000,
        "p90_us": 300_000,
        "p99_us": 300_000,
        "max_us": 300_000,
        "messages_per_second": 5,
        "megabytes_per_second": 41.667,
    }


def test_a_time_of_0_has_a_rate_of_0() -> None:
    assert stream_figures(0, 0.0)["megabytes_per_second"] == 0
    assert round_trip_figures(1, 1, [0.0])["messages_per_second"] == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1, "1 B"), (1000, "1000 B"), (1024, "1 KiB"), (1536, "1536 B"), (2**20, "1 MiB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert readable_size(size) == text


@pytest.mark.parametrize("child", [None, {"reason": "exited", "status": 0}])
def test_both_forms_of_a_report_say_the_same(child: dict[str, Any] | None) -> None:
    facts = {
        "endpoint": "svc",
        "address": "/run/svc.sock",
        "transport": "Unix domain socket",
        "peer": ipcpipes.PeerIdentity(pid=7, user="me", uid=1000, gid=1000),
        "platform": {"system": "Linux", "release": "6", "machine": "x86_64"},
        "versions": {"python": "3.14.0", "ipcpipes": "1"},
        "input": {"name": "file", "seed": None},
        "round_trips": [round_trip_figures(65536, 65536 + 1, [0.002, 0.001])],
        "stream": stream_figures(65537, 0.5),
        "child": child,
        "verified_bytes": 2 * 65537,
    }
    found = json.loads(as_json(facts))
    assert found["round_trips"][0]["p50_us"] == 1000
    assert found["child"] == child
    assert (found["peer"]["user"], found["peer"]["pid"]) == ("me", 7)
    lines = as_text(facts).splitlines()
    assert "peer       me (1000), process 7" in lines
    assert ("child      exited, status 0" in lines) == (child is not None)
    assert lines[-1] == "result     ok: 131074 bytes sent, every one came back right"
    assert any(line.split()[:6] == ["up", "to", "64", "KiB", "2", "1000.0"] for line in lines)
    assert all(line.isascii() and line == line.rstrip() for line in lines)


# The ledger


def test_the_ledger_accepts_any_pieces_of_the_bytes() -> None:
    data = next(generated(1000, 0))
    for out, back in ((1, 1000), (1000, 1), (7, 13), (13, 7), (250, 250)):
        ledger = Ledger()
        for start in range(0, 1000, out):
            ledger.send(data[start : start + out])
        for start in range(0, 1000, back):
            assert ledger.under_way == 1000 - start
            ledger.receive(data[start : start + back])
        assert (ledger.sent, ledger.returned, ledger.under_way) == (1000, 1000, 0)


@pytest.mark.parametrize("wrong", [0, 4, 5, 9])
def test_the_ledger_says_which_byte_is_wrong(wrong: int) -> None:
    ledger = Ledger()
    ledger.send(b"01234")
    ledger.send(b"")
    ledger.send(b"56789")
    data = bytearray(b"0123456789")
    data[wrong] = 0xFF
    with pytest.raises(WrongBytes, match=f"byte {wrong} is 0xff and was sent as 0x3{wrong}"):
        ledger.receive(bytes(data))


def test_the_ledger_refuses_more_than_was_sent() -> None:
    ledger = Ledger()
    ledger.send(b"a")
    with pytest.raises(WrongBytes, match="more came back"):
        ledger.receive(b"ab")
    with pytest.raises(WrongBytes, match="more came back"):
        Ledger().receive(b"a")


# Generated data


@pytest.mark.parametrize("size", SIZES)
def test_generated_messages_differ_from_their_neighbours(size: int) -> None:
    assert len(list(generated(size, 0))) == 1, "at least one"
    messages, again = generated(size, LIMIT), generated(size, LIMIT)
    found = [next(messages) for _ in range(20)]
    assert found == [next(again) for _ in range(20)], "the same in every run"
    assert {len(message) for message in found} == {size}
    if size > 1:
        assert all(one != other for one, other in itertools.pairwise(found))


# Errors


def test_a_failure_is_one_line_and_a_mistake_is_not_explained() -> None:
    assert explain(Failure("two\nlines")) == "two lines"
    assert explain(FileNotFoundError(2, "No such file", "x")) == "x: No such file"
    assert explain(OSError(24, "Too many open files")) == "Too many open files"
    assert explain(trio.BrokenResourceError("gone")) == "the connection broke: gone"
    assert explain(ZeroDivisionError("ours")) is None


async def test_errors_are_found_in_groups() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def fail_twice(first: Exception, second: Exception) -> BaseException:
        try:
            async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                outer.start_soon(fail, first)
                inner.start_soon(fail, second)
        except Exception as error:
            return error
        raise AssertionError

    error = await fail_twice(ConnectionEnded("ended"), WrongBytes("wrong"))
    assert {str(each) for each in single_errors(error)} == {"ended", "wrong"}
    assert explain(error) == "wrong"
    assert explain(await fail_twice(ConnectionEnded("ended"), ZeroDivisionError())) is None


# The transfer


@pytest.mark.parametrize("buffer_size", [0, 2**16])
async def test_a_round_trip_checks_what_comes_back(
    monkeypatch: pytest.MonkeyPatch, buffer_size: int
) -> None:
    """A message that fits the buffer is sent before its echo is received."""
    client, server = memory_stream_pair()
    monkeypatch.setattr(type(client), "send_buffer_size", buffer_size)
    transfer = StreamTransfer(client)

    async def answer(data: bytes) -> None:
        await server.receive_some()
        await server.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, b"right")
        assert await transfer.round_trip(b"right") > 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, b"wrong")
        with pytest.raises(WrongBytes):
            await transfer.round_trip(b"right")


async def test_small_buffers_do_not_deadlock() -> None:
    async def echo(stream: ipcpipes.abc.ByteStream) -> None:
        while data := await stream.receive_some():
            await stream.send_all(data)

    endpoint = unique_endpoint()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(ipcpipes.serve, echo, endpoint, buffer_size=4096))
        async with await ipcpipes.connect(endpoint, buffer_size=4096) as stream:
            with trio.fail_after(LIMIT):
                measured = await measure(StreamTransfer(stream), None, 0.01)
        nursery.cancel_scope.cancel()
    assert [each["message_bytes"] for each in measured["round_trips"]] == list(SIZES)
    assert measured["stream"]["total_bytes"] > 0


async def test_a_server_that_never_answers_gets_bounded_data(
    autojump_clock: trio.testing.MockClock,
) -> None:
    client, server = memory_stream_pair()
    transfer = StreamTransfer(client)

    async def swallow() -> None:
        while await server.receive_some():
            pass

    async def endless() -> bytes:
        return bytes(65536)

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group; looked into below
        async with trio.open_nursery() as nursery:
            nursery.start_soon(swallow)
            nursery.start_soon(transfer.fail_when_stalled)
            await transfer.stream_through(endless)
    assert "nothing came back for 30 s" in str(explain(caught.value))
    ledger = transfer.ledger
    assert ledger.sent == ledger.under_way <= 2**22 + 65536


# The second process

# How the end of a killed process looks to its parent.
KILLED = "the child process ended " + ("with status 1" if sys.platform == "win32" else "by SIGKILL")


@contextlib.contextmanager
def failing(line: str) -> Iterator[None]:
    """The user reads exactly this line."""
    with trio.fail_after(LIMIT), pytest.raises(Failure) as caught:
        yield
    assert str(caught.value) == line


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


@pytest.mark.parametrize("is_used", [True, False])
async def test_a_killed_child_is_a_failure(is_used: bool) -> None:
    with failing(KILLED):
        async with second_process("child", AS_CHILD) as child:
            transfer = StreamTransfer(child.stream)
            await transfer.round_trip(b"x")
            child.process.kill()
            await child.wait()
            if is_used:
                await transfer.round_trip(b"x")
    assert child.status is not None


@posix_signals
async def test_ctrl_c_on_the_child_alone_shows_no_traceback() -> None:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # The last line of a traceback would follow.
        with failing("the child process ended with status 130"):
            async with second_process("child", AS_CHILD) as child:
                transfer = StreamTransfer(child.stream)
                await transfer.round_trip(b"x")
                os.kill(child.pid, signal.SIGINT)
                await child.wait()
                await transfer.round_trip(b"x")
    finally:
        signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(
    ("program", "end"),
    [
        (
            "import sys\nprint('first', file=sys.stderr)\nsys.exit('no luck today\\n \\n')",
            "with status 1: no luck today",
        ),
        ("import sys; sys.exit('x' * 100_000)", "with status 1: " + 4096 * "x"),
        ("import sys; sys.exit(3)", "with status 3"),
    ],
)
async def test_a_failure_has_the_last_line_of_the_child(program: str, end: str) -> None:
    with failing(f"the server process ended {end}"):
        async with second_process("server", python(program)) as child:
            await StreamTransfer(child.stream).round_trip(b"x")


@posix_signals
async def test_a_failure_names_the_signal() -> None:
    with failing("the child process ended by SIGTERM"):
        async with second_process("child", python("import time; time.sleep(600)")) as child:
            os.kill(child.pid, signal.SIGTERM)
            await child.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="only Linux has real-time signals")
async def test_a_failure_has_the_number_of_a_signal_without_a_name() -> None:
    program = python("import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 1)")
    with failing("the child process ended by signal 35"):
        async with second_process("child", program):
            pass


async def test_a_bad_status_at_the_end_is_a_failure() -> None:
    with failing("the child process ended with status 3"):
        async with second_process("child", python("import sys; sys.exit(3)")):
            pass


async def test_wrong_bytes_come_before_the_end_of_the_child() -> None:
    program = trio_program("""
        async with ipcpipes.parent_stream() as stream:
            await stream.send_all((await stream.receive_some(100)).upper())
        sys.exit(3)
    """)
    with pytest.raises(WrongBytes, match="byte 2 is 0x58 and was sent as 0x78"):
        async with second_process("child", program) as child:
            await StreamTransfer(child.stream).round_trip(b"12x")


async def test_a_child_that_leaves_too_early_is_a_failure() -> None:
    with failing("the server closed the connection or died: 0 of 1 bytes came back"):
        async with second_process("child", python("")) as child:
            await StreamTransfer(child.stream).round_trip(b"x")


async def test_a_child_that_does_not_end_is_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_END_WITHIN", 0.2)
    line = "the child process did not end within 0.2 s after its stream was closed"
    with failing(f"{line}, and was terminated"):
        async with second_process("child", python("import time; time.sleep(600)")) as child:
            pass
    assert child.status is not None


async def test_a_missing_program_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        async with second_process("child", ["/no/such/program"]):
            raise AssertionError


async def test_other_errors_of_the_block_come_out() -> None:
    with pytest.raises(ZeroDivisionError):
        async with second_process("child", AS_CHILD) as child:
            await StreamTransfer(child.stream).round_trip(b"x")  # it has started
            raise ZeroDivisionError
    assert (child.reason, child.status) == ("exited", 0)


async def test_a_connection_made_during_ctrl_c_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = memory_stream_pair()
    with trio.CancelScope() as scope:

        async def connect(*_: object, **__: object) -> trio.abc.Stream:
            scope.cancel()
            return made

        monkeypatch.setattr(ipcpipes, "connect", connect)
        async with server_stream():
            await trio.sleep_forever()
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await made.send_all(b"x")


_PARENT = """
import sys, trio
from ipcpipes._cli.echo.process import AS_CHILD, second_process
from ipcpipes._cli.echo.transfer import StreamTransfer

async def main():
    async with second_process("child", AS_CHILD) as child:
        transfer = StreamTransfer(child.stream)

        async def endless():
            # By then it echoes.
            if transfer.ledger.returned and not told:
                print(child.pid, flush=True)
                told.append(True)
            return bytes(65536)

        told = []
        await transfer.stream_through(endless)

trio.run(main)
"""


def test_a_child_in_the_middle_of_its_echo_ends_with_its_parent() -> None:
    with subprocess.Popen(
        python(_PARENT), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not ended_within(child, 0)
        parent.kill()
        parent.wait(LIMIT)
        assert ended_within(child, LIMIT)
