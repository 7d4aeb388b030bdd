"""Many children, at once and one after another, and a process that runs out of descriptors."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from ipcpipes import blocking, open_child

from .conftest import open_descriptors
from .processes import SECONDS, children_of_this_process

if sys.platform != "linux":
    pytest.skip("the list of children is in /proc", allow_module_level=True)
assert sys.platform == "linux" or not TYPE_CHECKING

import resource

from .forking import ForkedChild
from .starting import Counter, Run, both_drivers, way

__all__ = ["way"]  # a fixture

# Answers the first byte, and ends when its stream ends.
ANSWER = ["sh", "-c", 'exec cat <"/dev/fd/$IPCPIPES_PIPE_IN" >"/dev/fd/$IPCPIPES_PIPE_OUT"']
PIPES: dict[str, Any] = {"in": "send", "out": "receive"}


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    assert not children_of_this_process()
    yield
    gc.collect()
    assert not children_of_this_process(), "zombies, or children that live"


def test_a_thousand_children_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Under trio, the quick way is taken only for a program that is in memory.
    for program in ("true", "sleep"):
        subprocess.run([program, "0"], check=True)
    counter = Counter(monkeypatch)
    before = open_descriptors()

    def start_many() -> None:
        for number in range(250):
            with blocking.open_child(["sh", "-c", "kill -9 $$" if number % 2 else "exit 3"]) as one:
                assert one.wait(timeout=SECONDS) == (-signal.SIGKILL if number % 2 else 3)
            assert one.reason == ("signalled" if number % 2 else "exited")

    async def main() -> None:
        for number in range(250):
            async with open_child(["sleep", "600"] if number % 2 else ["true"], grace=0) as one:
                if number % 2:
                    one.kill()
                await one.wait()
            assert one.reason == ("killed" if number % 2 else "exited")

    threads = [threading.Thread(target=start_many) for _ in range(3)]
    for thread in threads:
        thread.start()
    trio.run(main)
    for thread in threads:
        thread.join()
    # The system may need the memory of the programs for something else meanwhile.
    assert len(counter.codes) == 1000
    assert set(counter.codes) <= {0, -errno.EAGAIN}
    assert counter.codes.count(0) >= 750, "a blocking start does not look"
    gc.collect()
    assert open_descriptors() == before


def test_many_threads_start_children_at_once(way: str) -> None:
    """Each child has its own ends and none of another: it ends when its parent closes them."""
    together = threading.Barrier(16)
    answers: list[bytes] = []

    def start(number: int) -> None:
        together.wait()
        with blocking.open_child(ANSWER, pipes=PIPES) as child:
            word = b"%04d" % number
            child.pipes["in"].send_all(word)
            answers.append(child.pipes["out"].receive_some(4, timeout=SECONDS))
            together.wait()  # all of them live at this moment
            child.pipes["in"].close()
            assert child.wait(timeout=SECONDS) == 0

    threads = [threading.Thread(target=start, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [b"%04d" % number for number in range(16)]


def test_threads_of_python_run_while_a_child_starts(way: str) -> None:
    """Descriptors that other threads open and close meanwhile reach no child."""
    over = threading.Event()

    def open_and_close() -> None:
        while not over.is_set():
            for number in os.pipe():
                os.set_inheritable(number, True)
                os.close(number)

    thread = threading.Thread(target=open_and_close)
    thread.start()
    try:
        for _ in range(50):
            with blocking.open_child(["ls", "/proc/self/fd"], stdout=subprocess.PIPE) as child:
                assert child.process.stdout is not None
                said = child.process.stdout.read().split()
            # The standard streams, the lifeline, the stream, and the folder that is listed.
            assert len(said) == 6, said
    finally:
        over.set()
        thread.join()


@contextmanager
def few_descriptors(free: int) -> Iterator[None]:
    """Within this context, ``free`` more descriptors can be opened."""
    held: list[int] = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.split()[0]) for each in open_descriptors())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, limits[1]))
    try:
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                assert error.errno == errno.EMFILE
                break
        for _ in range(free):
            os.close(held.pop())
        yield
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@both_drivers
@pytest.mark.parametrize("free", range(6))
def test_running_out_of_descriptors_leaves_nothing(run: Run, free: int, way: str) -> None:
    """The quick way needs no descriptor but the ends, and under trio one to look at the program."""
    # Under trio, the quick way is taken only for a program that is in memory.
    subprocess.run(["true"], check=True)
    before = open_descriptors()
    results: list[int | None] = []

    def attempt() -> None:
        try:
            with blocking.open_child(["true"]) as child:
                results.append(child.wait())
        except OSError as error:
            results.append(error.errno)

    async def attempt_async() -> None:
        with few_descriptors(free):
            try:
                async with open_child(["true"]) as child:
                    results.append(await child.wait())
            except OSError as error:
                results.append(error.errno)

    if run.__name__ == "_run_trio":
        trio.run(attempt_async)
    else:
        with few_descriptors(free):
            attempt()
    enough = (5 if run.__name__ == "_run_trio" else 4) if way == "quick" else 6
    if free >= enough:
        assert results == [0]
    elif free < 4:
        assert results == [errno.EMFILE]
    gc.collect()
    assert open_descriptors() == before


def test_child_sees_the_end_of_its_parent_while_a_fork_of_the_parent_lives(way: str) -> None:
    """The copy of the lifeline, and of the pipes, is closed in a forked process."""
    waiting = [
        "sh",
        "-c",
        'number=${IPCPIPES_PARENT#*lifeline\\":[\\"}; read line <"/dev/fd/${number%%\\"*}"; exit 7',
    ]
    with blocking.open_child(waiting) as child:
        forked = ForkedChild(lambda: None, stays=True)
        child._lifeline.close()
        assert child.wait(timeout=SECONDS) == 7
        forked.end()
