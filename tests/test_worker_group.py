"""A master and its workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

import ipcpipes
from ipcpipes import Endpoint, WorkerFailed, WorkerGroup

from . import programs
from .conftest import WINDOWS
from .pairs import receive_exactly
from .processes import SECONDS, is_alive, until_gone

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

# Says its pid to each client, and echoes. Answers each message; "crash" and "hang" do just that.
SERVER = programs.trio_program("""
async def handler(stream):
    await stream.send_all(b"%d\\n" % os.getpid())
    async for data in stream:
        await stream.send_all(data)

async with ipcpipes.group_worker() as worker:
    async def on_message(message):
        if message == b"crash":
            os._exit(3)
        if message == b"hang":
            while True:
                pass
        await worker.send(b"%d got %s" % (worker.number, message))
    await worker.serve(handler, on_message)
    await worker.send(b"%d is done" % worker.number)
""")
# Without clients: each job is answered.
JOBS = programs.trio_program("""
async with ipcpipes.group_worker() as worker:
    async for job in worker:
        await worker.send(job + b" by %d" % worker.number)
    await worker.send(b"bye")
""")


class Heard:
    """What the workers have said."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self._news = trio.Event()

    async def __call__(self, number: int, message: bytes) -> None:
        self.messages.append((number, message))
        self._news.set()
        self._news = trio.Event()

    async def until(self, count: int) -> list[bytes]:
        with trio.fail_after(SECONDS):
            while len(self.messages) < count:
                await self._news.wait()
        return sorted(message for _, message in self.messages)


@asynccontextmanager
async def running(command: Any, count: int, **options: Any) -> AsyncIterator[WorkerGroup]:
    """A group for the length of a block, which is ended in order."""
    group = WorkerGroup(command, count, **options)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        yield group
        group.stop()


async def ask(endpoint: Endpoint, data: bytes = b"x") -> int:
    """A client that gets its answer, and the worker's pid."""
    while True:
        try:
            return await ask_once(endpoint, data)
        except (trio.BrokenResourceError, AssertionError):
            # Windows: it has reached a worker in the moment in which that stops accepting.
            if not WINDOWS:
                raise


async def ask_once(endpoint: Endpoint, data: bytes) -> int:
    async with await ipcpipes.connect(endpoint, wait=SECONDS) as stream:
        pid = b""
        while not pid.endswith(b"\n"):
            pid += await receive_exactly(stream, 1)
        await stream.send_all(data)
        assert await receive_exactly(stream, len(data)) == data
        return int(pid)


async def crash(group: WorkerGroup, number: int) -> None:
    # It may be gone before the system says that it has taken all of the message.
    with contextlib.suppress(trio.BrokenResourceError):
        await group.send(b"crash", worker=number)


async def until(condition: Any) -> None:
    with trio.fail_after(SECONDS):
        while not condition():
            await trio.sleep(0.01)


async def test_workers_serve_one_endpoint_and_answer_messages(endpoint: Endpoint) -> None:
    heard = Heard()
    async with running(SERVER, 2, endpoint=endpoint, on_message=heard) as group:
        pids = group.pids
        assert sorted(pids) == [0, 1]
        assert {await ask(endpoint) for _ in range(10)} <= set(pids.values())
        await group.send(b"reload")
        assert await heard.until(2) == [b"0 got reload", b"1 got reload"]
        await group.send(b"only you", worker=1)
        await heard.until(3)
        assert heard.messages[2] == (1, b"1 got only you")
    assert sorted(heard.messages[3:]) == [(0, b"0 is done"), (1, b"1 is done")]
    for pid in pids.values():
        assert not is_alive(pid)
    with pytest.raises(ipcpipes.EndpointNotFound):
        await ipcpipes.connect(endpoint)


async def test_workers_receive_messages_and_answer() -> None:
    heard = Heard()
    async with running(JOBS, 3, on_message=heard) as group:
        for number in range(3):
            for job in range(10):
                await group.send(b"%d" % job, worker=number)
        await heard.until(30)
    # In order for each of them, and none is lost; the last words come after the work.
    for number in range(3):
        said = [message for worker, message in heard.messages if worker == number]
        assert said == [b"%d by %d" % (job, number) for job in range(10)] + [b"bye"]


async def test_a_worker_that_crashes_is_started_again(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    async with running(SERVER, 2, endpoint=endpoint, on_message=heard) as group:
        before = group.pids
        await crash(group, 1)
        await until(lambda: group.pids.get(1) not in (None, before[1]))
        assert group.pids[0] == before[0]
        # Waits for it, if it is not there yet.
        await group.send(b"hello", worker=1)
        assert await heard.until(1) == [b"1 got hello"]
    assert "worker 1 ended (exited, status 3); starting it again in 0.1 s" in caplog.text


async def test_too_many_crashes_end_the_group(endpoint: Endpoint) -> None:
    heard = Heard()
    pids: set[int] = set()
    group = WorkerGroup(SERVER, 2, endpoint=endpoint, on_message=heard, restarts=1)
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            pids.update(group.pids.values())
            await crash(group, 1)
            await until(lambda: group.pids.get(1) not in (None, *pids))
            pids.update(group.pids.values())
            await crash(group, 1)
            await trio.sleep_forever()
    (failure,) = caught.value.exceptions
    assert isinstance(failure, WorkerFailed)
    assert str(failure) == "worker 1 ended (exited, status 3); that was crash 2 within 60 s"
    assert not any(map(is_alive, pids))


async def test_failing_program_is_restarted_as_often_as_allowed() -> None:
    program = programs.plain_program("sys.exit(9)")
    group = WorkerGroup(program, 1, restarts=2)
    with pytest.raises(WorkerFailed) as caught:
        await group.run()
    assert str(caught.value) == (
        "worker 0 ended before it was ready (exited, status 9); that was crash 3 within 60 s"
    )
    assert (caught.value.number, caught.value.status) == (0, 9)


async def test_missing_program_raises_at_the_first_start(endpoint: Endpoint) -> None:
    group = WorkerGroup(["/no-such-program"], 2, endpoint=endpoint)
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        await group.run()
    async with await ipcpipes.listen(endpoint):
        pass  # the name is free


async def test_worker_that_is_never_ready_is_terminated() -> None:
    with pytest.raises(WorkerFailed, match="did not get ready"):
        await WorkerGroup(programs.HANG, 1, grace=0.3, restarts=0).run()


async def test_a_worker_that_does_not_finish_is_terminated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    program = programs.trio_program("""
    async with ipcpipes.group_worker() as worker:
        await trio.sleep_forever()
    """)
    group = WorkerGroup(program, 1, grace=10)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        pid = group.pids[0]
        group._grace = 0.1
        group.stop()
    assert not is_alive(pid)
    assert "worker 0 has not finished within 0.1 s" in caplog.text


async def test_roll_over_replaces_all_workers_and_loses_no_client(endpoint: Endpoint) -> None:
    """Under load: clients come all the time, and each of them is answered."""
    heard = Heard()
    served: Counter[int] = Counter()
    over = False

    async def clients() -> None:
        while not over:
            served[await ask(endpoint, b"hello")] += 1

    async with running(SERVER, 2, endpoint=endpoint, on_message=heard) as group:
        before = set(group.pids.values())
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(clients)
            await until(lambda: served)
            await group.roll_over()
            after = set(group.pids.values())
            count = sum(served.values())
            await until(lambda: sum(served.values()) > count + 10)
            over = True
        assert not before & after
        assert not any(map(is_alive, before))
        assert set(served) <= before | after
        assert set(served) & after


async def test_roll_over_loses_no_message() -> None:
    heard = Heard()
    sent = 0
    over = False

    async with running(JOBS, 2, on_message=heard) as group:

        async def send() -> None:
            nonlocal sent
            while not over:
                await group.send(b"%d" % sent, worker=sent % 2)
                sent += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await group.roll_over()
            over = True
    answers = [message for _, message in heard.messages if message != b"bye"]
    assert sorted(answers) == sorted(b"%d by %d" % (n, n % 2) for n in range(sent))
    assert len(heard.messages) == sent + 4  # four workers in all said bye


async def test_failed_roll_over_keeps_the_old_workers(tmp_path: Path) -> None:
    program = tmp_path / "worker.py"
    program.write_text(JOBS[2])
    heard = Heard()
    async with running([sys.executable, str(program)], 2, on_message=heard) as group:
        before = group.pids
        program.write_text("import sys; sys.exit(4)")
        with pytest.raises(WorkerFailed, match=r"worker 0 ended before it was ready .*status 4"):
            await group.roll_over()
        assert group.pids == before
        await group.send(b"still")
        assert await heard.until(2) == [b"still by 0", b"still by 1"]


async def test_stop_waits_for_clients_being_served(endpoint: Endpoint) -> None:
    group = WorkerGroup(SERVER, 1, endpoint=endpoint)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        stream = await ipcpipes.connect(endpoint, wait=SECONDS)
        async with stream:
            while (await receive_exactly(stream, 1)) != b"\n":
                pass
            group.stop()
            await trio.sleep(0.2)
            await stream.send_all(b"still here")
            assert await receive_exactly(stream, 10) == b"still here"
            assert is_alive(next(iter(group.pids.values())))


async def test_cancelled_run_ends_the_workers_at_once(endpoint: Endpoint) -> None:
    group = WorkerGroup(SERVER, 2, endpoint=endpoint)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        pids = list(group.pids.values())
        nursery.cancel_scope.cancel()
    assert not any(map(is_alive, pids))
    with pytest.raises(trio.ClosedResourceError):
        await group.send(b"x")


@pytest.mark.parametrize("error", [ValueError("mine"), trio.BrokenResourceError("mine")])
async def test_an_error_of_on_message_ends_the_group(error: Exception) -> None:
    async def refuse(number: int, message: bytes) -> None:
        raise error

    with pytest.raises(ExceptionGroup) as caught:
        async with running(JOBS, 1, on_message=refuse) as group:
            await group.send(b"job")
            await trio.sleep_forever()
    assert caught.value.exceptions == (error,)


async def test_unsendable_message_is_one_error() -> None:
    async with running(JOBS, 2) as group:
        for worker in (None, 1):
            with pytest.raises(ipcpipes.MessageTooLarge):
                await group.send(b"x" * (2**24 + 1), worker=worker)
            with pytest.raises(TypeError):
                await group.send("text", worker=worker)  # type: ignore[arg-type]


async def test_send_cancelled_half_way_breaks_nothing(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    program = programs.trio_program(f"""
    async with ipcpipes.group_worker() as worker:
        while not os.path.exists({str(gate)!r}):
            await trio.sleep(0.01)
        async for job in worker:
            await worker.send(b"%d" % len(job))
    """)
    heard = Heard()
    async with running(program, 1, on_message=heard) as group:
        with trio.move_on_after(0.1) as scope:
            await group.send(b"x" * 5_000_000)
        assert scope.cancelled_caught
        with trio.move_on_after(0.1) as scope:
            await group.send(b"waits behind it, and is not sent")
        assert scope.cancelled_caught
        gate.touch()
        await group.send(b"next", worker=0)
        await heard.until(2)
    assert [message for _, message in heard.messages] == [b"5000000", b"4"]


async def test_roll_over_can_be_cancelled_at_any_moment() -> None:
    pids: set[int] = set()
    async with running(JOBS, 2) as group:
        for seconds in (0.01, 0.05, 0.1, 0.2, 0.4):
            with trio.move_on_after(seconds):
                await group.roll_over()
            pids.update(group.pids.values())
            await until(lambda: len(group._members) == 2)
        await group.send(b"still", worker=0)
    assert not any(map(is_alive, pids))


async def test_last_messages_of_a_worker_are_received() -> None:
    program = programs.trio_program("""
    async with ipcpipes.group_worker() as worker:
        async for job in worker:
            pass
        for number in range(10):
            await worker.send(b"%d" % number)
    """)
    heard: list[bytes] = []

    async def slowly(number: int, message: bytes) -> None:
        await trio.sleep(0.1)
        heard.append(message)

    group = WorkerGroup(program, 1, on_message=slowly, grace=10)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        group._grace = 0.3
        group.stop()
    assert heard == [b"%d" % number for number in range(10)]


@pytest.mark.skipif(WINDOWS, reason="fork")
async def test_crash_is_noticed_while_a_fork_of_the_worker_lives() -> None:
    program = programs.trio_program("""
    async with ipcpipes.group_worker() as worker:
        async for job in worker:
            if job == b"crash":
                if os.fork() == 0:
                    import time
                    time.sleep(5)
                os._exit(3)
            await worker.send(b"%d" % os.getpid())
    """)
    heard = Heard()
    async with running(program, 1, on_message=heard) as group:
        before = group.pids[0]
        await crash(group, 0)
        await until(lambda: group.pids.get(0, before) != before)
        await group.send(b"who are you", worker=0)
        assert await heard.until(1) == [b"%d" % group.pids[0]]


async def test_roll_over_in_a_cancelled_group() -> None:
    for seconds in (0.01, 0.05, 0.2):
        group = WorkerGroup(JOBS, 2)
        async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
            await inner.start(group.run)

            async def roll_over(group: WorkerGroup = group) -> None:
                with pytest.raises(trio.ClosedResourceError):
                    while True:
                        await group.roll_over()

            nursery.start_soon(roll_over)
            await trio.sleep(seconds)
            pids = list(group.pids.values())
            inner.cancel_scope.cancel()
        assert not any(map(is_alive, pids))


async def test_busy_master_receives_every_last_message() -> None:
    program = programs.trio_program("""
    async with ipcpipes.group_worker() as worker:
        async for job in worker:
            pass
        for number in range(500):
            await worker.send(b"%d" % number)
    """)
    heard: list[bytes] = []

    async def hear(number: int, message: bytes) -> None:
        heard.append(message)

    async def be_busy() -> None:
        while True:
            time.sleep(0.01)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be_busy)
        async with running(program, 1, on_message=hear):
            pass
        nursery.cancel_scope.cancel()
    assert heard == [b"%d" % number for number in range(500)]


async def test_message_to_all_survives_a_roll_over() -> None:
    heard = Heard()
    sent = 0
    async with running(JOBS, 1, on_message=heard) as group:
        over = False

        async def send() -> None:
            nonlocal sent
            while not over:
                await group.send(b"job")
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for _ in range(2 if WINDOWS else 5):
                await group.roll_over()
            over = True
    assert [message for _, message in heard.messages].count(b"job by 0") == sent


@pytest.mark.parametrize("place", ["on_message", "on_end"])
async def test_a_worker_can_ask_for_a_roll_over(place: str) -> None:
    rolled = trio.Event()
    asked = False
    group: WorkerGroup

    async def roll_over(*_: object) -> None:
        nonlocal asked
        if not asked:
            asked = True
            await group.roll_over()
            rolled.set()

    options: dict[str, Any] = {place: roll_over}
    with trio.fail_after(SECONDS):
        async with running(JOBS, 2, **options) as group:
            before = group.pids
            if place == "on_message":
                await group.send(b"please", worker=0)
            else:
                os.kill(before[0], signal.SIGTERM)
            await rolled.wait()
            assert not set(before.values()) & set(group.pids.values())


async def test_a_message_is_copied_when_it_is_posted() -> None:
    heard = Heard()
    async with running(JOBS, 1, on_message=heard) as group:
        message = bytearray(b"job")
        with trio.move_on_after(0):
            await group.send(message)
        message.clear()
        await group.send(memoryview(b"next"))
        await heard.until(1)
    assert heard.messages[-2][1] == b"next by 0"


async def test_run_can_be_cancelled_at_each_of_its_first_steps() -> None:
    for steps in range(12):
        group = WorkerGroup(JOBS, 1)
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(group.run)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()


async def test_run_waits_for_on_end() -> None:
    ended: list[int] = []

    async def on_end(number: int, child: ipcpipes.Child) -> None:
        await trio.sleep(0.1)
        ended.append(number)

    async with running(JOBS, 2, on_end=on_end):
        pass
    assert sorted(ended) == [0, 1]


# Signals, as a program gets them

MASTER = """
import os, sys, trio, ipcpipes

async def on_message(number, message):
    print("heard", message.decode(), flush=True)

async def main():
    group = ipcpipes.WorkerGroup(
        [sys.executable, "-c", sys.argv[1]], 2, grace=float(sys.argv[2]), on_message=on_message
    )
    async with trio.open_nursery() as nursery:
        result = []
        async def run(*, task_status):
            result.append(await group.run(task_status=task_status))
        await nursery.start(run)
        print("ready", *group.pids.values(), flush=True)
    print("ended by", result[0].name, flush=True)

trio.run(main)
"""
STUBBORN = programs.trio_program("""
async with ipcpipes.group_worker() as worker:
    await trio.sleep_forever()
""")


def start_master(worker: Sequence[str], grace: float, code: str = MASTER) -> tuple[Any, list[int]]:
    master = subprocess.Popen(
        [sys.executable, "-c", code, worker[2], str(grace)], stdout=subprocess.PIPE, text=True
    )
    assert master.stdout is not None
    word, *pids = master.stdout.readline().split()
    assert word == "ready"
    return master, [int(pid) for pid in pids]


@pytest.mark.skipif(WINDOWS, reason="signals from another process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_stops_the_group_in_order(number: signal.Signals) -> None:
    master, pids = start_master(JOBS, SECONDS)
    with master:
        master.send_signal(number)
        lines = master.stdout.read().splitlines()
        assert lines == ["heard bye", "heard bye", f"ended by {number.name}"]
        assert master.wait(SECONDS) == 0
    assert not any(map(is_alive, pids))


@pytest.mark.skipif(WINDOWS, reason="signals from another process")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_under_run_the_exit_status_is_that_of_the_signal(
    number: signal.Signals, status: int
) -> None:
    """The group ends in order, and main goes on to its end."""
    code = MASTER.replace("trio.run(main)", "ipcpipes.run(main)")
    master, pids = start_master(JOBS, SECONDS, code)
    with master:
        master.send_signal(number)
        lines = master.stdout.read().splitlines()
        assert lines == ["heard bye", "heard bye", f"ended by {number.name}"]
        assert master.wait(SECONDS) == status
    assert not any(map(is_alive, pids))


@pytest.mark.skipif(WINDOWS, reason="signals from another process")
def test_third_signal_leaves_no_worker_behind() -> None:
    worker = [*STUBBORN]
    worker[2] = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + worker[2]
    master, pids = start_master(worker, 1000)
    with master:
        for _ in range(4):
            master.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        assert master.stdout.read() == "ended by SIGTERM\n"
        assert master.wait(SECONDS) == 0
    assert not any(map(is_alive, pids))


@pytest.mark.skipif(WINDOWS, reason="signals from another process")
def test_second_signal_terminates_the_workers() -> None:
    master, pids = start_master(STUBBORN, 1000)
    with master:
        master.send_signal(signal.SIGINT)
        master.send_signal(signal.SIGTERM)
        assert master.stdout.read().startswith("ended by ")
        assert master.wait(SECONDS) == 0
    assert not any(map(is_alive, pids))


def test_kill_9_of_the_master_lets_workers_finish() -> None:
    master, pids = start_master(JOBS, SECONDS)
    with master:
        master.kill()
    for pid in pids:
        trio.run(until_gone, pid)


if sys.platform != "win32":

    async def test_workers_do_not_get_the_terminals_ctrl_c() -> None:
        async with running(JOBS, 1) as group:
            assert os.getsid(group.pids[0]) == group.pids[0] != os.getsid(0)


# Misuse


async def test_misuse_is_a_clear_error() -> None:
    group = WorkerGroup(JOBS, 1)
    with pytest.raises(RuntimeError, match="is not running"):
        await group.send(b"x")
    with pytest.raises(ValueError, match="cannot be empty"):
        await group.send(b"")
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        with pytest.raises(IndexError, match="there is no worker 1"):
            await group.send(b"x", worker=1)
        with pytest.raises(IndexError):
            await group.send(b"x", worker=-1)
        with pytest.raises(RuntimeError, match="runs once"):
            await group.run()
        group.stop()
        group.stop()
        with pytest.raises(trio.ClosedResourceError):
            await group.send(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await group.roll_over()
    with pytest.raises(RuntimeError, match="runs once"):
        await group.run()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"count": 0}, ValueError),
        ({"count": 1.5}, TypeError),
        ({"restarts": -1}, ValueError),
        ({"grace": -1}, ValueError),
        ({"within": "x"}, TypeError),
        ({"within": 0}, ValueError),
        ({"backlog": 0}, ValueError),
        ({"endpoint": 5}, TypeError),
        ({"access": "everyone"}, TypeError),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        WorkerGroup(JOBS, **{"count": 1, **options})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"restart": 3}, r"WorkerGroup\(\) got an unexpected keyword argument 'restart'"),
        ({"pipes": {"log": "send"}}, "argument 'pipes'"),
        ({"authkey": b"k" * 16}, "argument 'authkey'"),
        ({"args": ["x"]}, "argument 'args'"),
        ({"shell": True}, "WorkerGroup takes no shell: name it in the command"),
        ({"text": True}, "WorkerGroup takes no text"),
        ({"longest_line": "80"}, "longest_line must be"),
    ],
)
def test_options_for_the_workers_are_checked_before_there_are_any(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        WorkerGroup(JOBS, 1, **options)


def test_popen_options_reach_the_workers() -> None:
    WorkerGroup(JOBS, 1, cwd=".", env={}, stderr=print, longest_line=100, creationflags=0)


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored")
async def test_name_in_use_is_an_error(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint):
        with pytest.raises(ipcpipes.EndpointInUse):
            await WorkerGroup(SERVER, 1, endpoint=endpoint).run()


async def test_parent_channel_in_a_worker_is_an_error() -> None:
    program = programs.trio_program("""
    try:
        async with ipcpipes.parent_channel():
            pass
    except ipcpipes.NoParent as error:
        say(error)
    """)
    lines: list[str] = []
    with pytest.raises(WorkerFailed, match="ended before it was ready"):
        await WorkerGroup(program, 1, restarts=0, stdout=lines.append).run()
    assert lines == ["this process is a worker of a WorkerGroup; call group_worker()"]


async def test_on_end_is_called_after_the_last_message() -> None:
    heard = Heard()
    ends: list[tuple[int, int | None, str | None, int]] = []

    async def on_end(number: int, child: ipcpipes.Child) -> None:
        ends.append((number, child.status, child.reason, len(heard.messages)))

    async with running(JOBS, 1, on_message=heard, on_end=on_end) as group:
        os.kill(group.pids[0], signal.SIGTERM)
        await until(lambda: ends)
        await group.send(b"job", worker=0)
        await heard.until(1)
    assert ends[0] == ((0, signal.SIGTERM, "exited", 0) if WINDOWS else (0, -15, "signalled", 0))
    assert ends[1] == (0, 0, "exited", 2)


async def test_finishing_is_set_for_handlers(endpoint: Endpoint) -> None:
    program = programs.trio_program("""
    async with ipcpipes.group_worker() as worker:
        async def handler(stream):
            await stream.send_all(b"here")
            await worker.finishing.wait()
            await stream.send_all(b"bye")
        await worker.serve(handler)
    """)
    group = WorkerGroup(program, 1, endpoint=endpoint)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        async with await ipcpipes.connect(endpoint, wait=SECONDS) as stream:
            assert await receive_exactly(stream, 4) == b"here"
            group.stop()
            assert await receive_exactly(stream, 3) == b"bye"


async def test_group_stopped_before_it_runs() -> None:
    group = WorkerGroup(JOBS, 1)
    group.stop()
    assert await group.run() is None


async def test_group_worker_in_a_plain_child_is_an_error() -> None:
    program = programs.trio_program("""
    try:
        async with ipcpipes.group_worker():
            pass
    except ipcpipes.NoParent as error:
        say(error)
    """)
    lines: list[str] = []
    async with ipcpipes.open_child(program, stdout=lines.append):
        pass
    framing = ipcpipes.LengthPrefixed()
    async with ipcpipes.open_child(program, framing=framing, stdout=lines.append):
        pass
    assert "gave this process no channel, but stream" in lines[0]
    assert lines[1] == "this process was started by open_child, not by a WorkerGroup"


async def test_a_worker_without_an_endpoint_cannot_serve(caplog: pytest.LogCaptureFixture) -> None:
    program = programs.trio_program("""
    async with ipcpipes.group_worker() as worker:
        try:
            await worker.serve(print)
        except RuntimeError as error:
            await worker.send(str(error).encode())
        async for message in worker:
            pass
        try:
            await worker.receive()
        except trio.EndOfChannel:
            await worker.send(b"again and again")
    """)
    heard = Heard()
    async with running(program, 1, on_message=heard):
        await heard.until(1)
    assert [message for _, message in heard.messages] == [
        b"this group has no endpoint: WorkerGroup(..., endpoint=...)",
        b"again and again",
    ]
