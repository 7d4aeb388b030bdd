"""Threads and blocking pairs for the tests."""

from __future__ import annotations

import queue
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any
from weakref import WeakSet

import trio

import ipcpipes
from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .children import SECONDS, Child, running
from .pairs import OPPOSITE


class Worker:
    """A thread with a result."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self._call = (function, arguments, options)
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        _workers.add(self)

    def _run(self) -> None:
        function, arguments, options = self._call
        try:
            self._result = function(*arguments, **options)
        except BaseException as error:
            self._error = error
        del self._call

    def result(self) -> Any:
        """Returns the result of the function, or raises its exception."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the thread hangs"
        if self._error is not None:
            raise self._error
        return self._result

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    @property
    def place(self) -> object:
        """The instruction at which the thread is; a new object while it is not in the function."""
        if self.is_done:
            return None
        frame = sys._current_frames().get(self._thread.ident or 0)
        if frame is None or frame.f_code.co_filename in (__file__, threading.__file__):
            return object()
        return frame.f_code, frame.f_lasti


_workers: WeakSet[Worker] = WeakSet()


@contextmanager
def in_trio(make: Callable[[], AbstractAsyncContextManager[Any]]) -> Iterator[tuple[Any, Any]]:
    """Enters the block of ``make`` in another thread with a trio loop: (its value, a function that
    runs coroutine functions in that loop).
    """
    begun: queue.SimpleQueue[tuple[Any, ...] | BaseException] = queue.SimpleQueue()

    async def main() -> None:
        entered = False
        try:
            async with make() as value:
                entered = True
                stop = trio.Event()
                begun.put((value, trio.lowlevel.current_trio_token(), stop))
                await stop.wait()
        except BaseException as error:
            if entered:
                raise
            begun.put(error)

    worker = Worker(trio.run, main)
    found = begun.get()
    if isinstance(found, BaseException):
        worker.result()
        raise found
    value, token, stop = found
    try:
        yield value, partial(trio.from_thread.run, trio_token=token)
    finally:
        token.run_sync_soon(stop.set)
        worker.result()


def settle() -> None:
    """Gives the workers time to reach the point where they wait: until none has moved for a while,
    but a second at most, because a worker may also be busy all the time.
    """
    last = time.monotonic() + 1
    before: list[object] = []
    while time.monotonic() < last:
        time.sleep(0.05)
        now = [worker.place for worker in _workers]
        if now == before:
            return
        before = now


def stream_pair(direction: Any = "duplex", **options: Any) -> tuple[Any, Any]:
    """Returns (client, server); the client has ``direction``."""
    with blocking.listen(
        unique_endpoint(), direction=OPPOSITE[direction], backlog=1, **options
    ) as listener:
        client = blocking.connect(listener.endpoint, direction=direction)
        return client, listener.accept(timeout=SECONDS)


def channel_pair(framing: Any = None, **options: Any) -> tuple[Any, Any]:
    framing = ipcpipes.LengthPrefixed() if framing is None else framing
    with blocking.listen_messages(
        unique_endpoint(), framing=framing, backlog=1, **options
    ) as listener:
        client = blocking.connect_messages(listener.endpoint, framing=framing)
        return client, listener.accept(timeout=SECONDS)


def framings() -> list[Any]:
    """Returns the default framing, and NATIVE where the system has it."""
    native = [ipcpipes.NATIVE] if sys.platform in ("linux", "win32") else []
    return [ipcpipes.LengthPrefixed(), *native]


def receive_all(stream: Any) -> bytes:
    return b"".join(stream)


def receive_exactly(stream: Any, count: int) -> bytes:
    got = b""
    while len(got) < count:
        chunk = stream.receive_some(count - len(got), timeout=SECONDS)
        assert chunk, f"the stream ended after {len(got)} of {count} bytes"
        got += chunk
    return got


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    elapsed = time.monotonic() - start
    assert elapsed < seconds, f"it took {elapsed:.1f} s"


_PRELUDE = """
import sys, threading, time, trio, ipcpipes
from ipcpipes import blocking
def say(*words):
    print(*words, flush=True)
def hear():
    return sys.stdin.readline().strip()
"""


@contextmanager
def plain_child(program: str, *arguments: str) -> Iterator[Child]:
    """Runs ``program`` in another interpreter, in its main thread and without an event loop.

    The program can use ``say(...)``, ``hear()`` and ``sys.argv[1:]``.
    """
    source = _PRELUDE + textwrap.dedent(program)
    with running(source, *arguments, flags=("-W", "error")) as child:
        yield child
