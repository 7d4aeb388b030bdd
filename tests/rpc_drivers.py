"""The trio driver and the blocking driver with one face, so that one test runs over both.

The test is an async function with a parameter ``driver`` (a fixture), and so are its managers::

    async def test_22_drained_in_pipes_are_a_normal_return(driver: Driver) -> None:
        async def into(numbers: Any) -> int:
            return sum(await drained(numbers))

        async with driver.calling(into=into) as acc:
            assert await acc.into(numbers=[1, 2]) == 3

Over the trio driver, nothing is between the test and what it tests. Over the blocking driver, each
operation of the client runs in a worker thread, and each manager in its server's thread, where its
pipes block. What only one of the drivers has (cancel scopes, async sources; timeouts, signal
handlers) is tested in files of its own.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.blocking.client import ClientOperation
from ipcpipes.testing import unique_endpoint

from . import rpc_over_links
from .rpc_over_links import RawClient, no_calls_left
from .rpc_over_managers import Calls, Scripted, given_back
from .rpc_waiting import SECONDS, blocking as in_thread, run_here, sleep

Options = dict[str, Any] | None
Scripts = Callable[..., Any]


class Driver(ABC):
    """A way to serve and to call.

    Attributes:
        cancelled: what a manager that only waits (:func:`until_cancelled`) raises when its call is
            given up.
        left: what a pull or push of another task or thread raises when its handle is left. A
            thread may see that the call is cancelled before it sees that it is over.
        serves_in_threads: calls that a client begins one after the other may run in another order.
    """

    cancelled: type[BaseException]
    left: tuple[type[rpc.RpcError], ...]
    serves_in_threads: bool

    @abstractmethod
    def manager(self, **scripts: Scripts) -> Calls:
        """A manager; each script implements the operation of its name."""

    @abstractmethod
    async def serve(
        self, *managers: rpc.Interface, task_status: trio.TaskStatus[Any], **options: Any
    ) -> None:
        """Serves at an endpoint of its own until the listener is closed, which it starts with."""

    @abstractmethod
    def serving(self, *managers: rpc.Interface, **options: Any) -> AbstractAsyncContextManager[Any]:
        """The same as a block, with its listener. The server has ended at the end of the block."""

    @abstractmethod
    async def close(self, resource: Any) -> None:
        """Closes a listener, or a stream that :meth:`stream` has made."""

    @abstractmethod
    async def stream(self, endpoint: ipcpipes.Endpoint) -> Any:
        """A stream for :meth:`bind`."""

    @abstractmethod
    def bind(
        self, interface: type[rpc.Interface], stream: Any, **options: Any
    ) -> AbstractAsyncContextManager[Any]: ...

    @abstractmethod
    def connect(
        self, interface: type[rpc.Interface], endpoint: ipcpipes.Endpoint, **options: Any
    ) -> AbstractAsyncContextManager[Any]: ...

    @abstractmethod
    def interceptors(self, *given: Any) -> list[Any]:
        """Async functions as interceptors; they wait only for ``proceed``."""

    @abstractmethod
    async def no_calls_left(self, acc: Any) -> None:
        """Waits until no call of a working connection is open."""

    @abstractmethod
    async def settle(self) -> None:
        """Gives the other end the time to do what it can do. Only before checks that something has
        NOT happened; a test that expects something waits for that.
        """

    @abstractmethod
    async def look(self, acc: Any) -> None:
        """Lets the client read what has come, as no task or thread waits for it."""

    async def heard(self, acc: Any, condition: Callable[[], object]) -> None:
        """Waits for a condition that something received makes true, while no operation waits."""
        with trio.fail_after(SECONDS):
            while not condition():
                await self.look(acc)

    async def stopped(self, count: Callable[[], int]) -> int:
        """Waits until the count no longer changes, and returns it."""
        before = -1
        while before != count():
            before = count()
            for _ in range(3):
                await self.settle()
        return before

    @asynccontextmanager
    async def calling(
        self, *, client: Options = None, server: Options = None, **scripts: Scripts
    ) -> AsyncIterator[Any]:
        """A client of a server; each script implements the operation of its name."""
        with trio.fail_after(SECONDS):
            async with self.serving(self.manager(**scripts), **(server or {})) as listener:
                async with self.connect(Calls, listener.endpoint, **(client or {})) as acc:
                    yield acc
                    await self.no_calls_left(acc)

    @asynccontextmanager
    async def raw_calling(
        self, *, server: Options = None, **scripts: Scripts
    ) -> AsyncIterator[tuple[RawClient, Any]]:
        """A raw client, and an ordinary client that must still be served afterwards."""
        with trio.fail_after(SECONDS):
            manager = self.manager(**{"plain": given_back, **scripts})
            async with self.serving(manager, **(server or {})) as listener:
                async with self.connect(Calls, listener.endpoint) as acc:
                    async with await ipcpipes.connect(listener.endpoint) as stream:
                        yield RawClient(stream), acc
                    assert await acc.plain("others are still served") == "others are still served"


class TrioDriver(Driver):
    cancelled = trio.Cancelled
    left = (rpc.InvalidAsyncHandle,)
    serves_in_threads = False

    def manager(self, **scripts: Scripts) -> Calls:
        return Scripted(**scripts)

    async def serve(
        self, *managers: rpc.Interface, task_status: trio.TaskStatus[Any], **options: Any
    ) -> None:
        await rpc.serve(managers, unique_endpoint(), task_status=task_status, **options)

    def serving(self, *managers: rpc.Interface, **options: Any) -> AbstractAsyncContextManager[Any]:
        return rpc_over_links.serving(*managers, **options)

    async def close(self, resource: Any) -> None:
        await resource.aclose()

    async def stream(self, endpoint: ipcpipes.Endpoint) -> Any:
        return await ipcpipes.connect(endpoint)

    def bind(
        self, interface: type[rpc.Interface], stream: Any, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        return rpc.bind(interface, stream, **options)

    def connect(
        self, interface: type[rpc.Interface], endpoint: ipcpipes.Endpoint, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        return rpc.connect(interface, endpoint, **options)

    def interceptors(self, *given: Any) -> list[Any]:
        return [*given]

    async def no_calls_left(self, acc: Any) -> None:
        await no_calls_left(acc)

    async def settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked(0.01)

    async def look(self, acc: Any) -> None:
        await trio.sleep(0.001)  # a task of the client reads


class BlockingDriver(Driver):
    cancelled = rpc.CallCancelled
    left = (rpc.InvalidAsyncHandle, rpc.CallCancelled)
    serves_in_threads = True

    def manager(self, **scripts: Scripts) -> Calls:
        manager: Calls = ScriptedInThreads(**scripts)
        return manager

    async def serve(
        self, *managers: rpc.Interface, task_status: trio.TaskStatus[Any], **options: Any
    ) -> None:
        with streams.listen(unique_endpoint()) as listener:
            task_status.started(listener)
            await in_thread(blocking.serve, managers, listener, **options)

    @asynccontextmanager
    async def serving(self, *managers: rpc.Interface, **options: Any) -> AsyncIterator[Any]:
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(functools.partial(self.serve, *managers, **options))
            yield listener
            listener.close()

    async def close(self, resource: Any) -> None:
        await in_thread(resource.close)

    async def stream(self, endpoint: ipcpipes.Endpoint) -> Any:
        return await in_thread(streams.connect, endpoint)

    def bind(
        self, interface: type[rpc.Interface], stream: Any, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        return _client_in_threads(blocking.bind(interface, stream, **options))

    def connect(
        self, interface: type[rpc.Interface], endpoint: ipcpipes.Endpoint, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        return _client_in_threads(blocking.connect(interface, endpoint, **options))

    def interceptors(self, *given: Any) -> list[Any]:
        return [*map(_interceptor_in_threads, given)]

    async def no_calls_left(self, acc: Any) -> None:
        session = acc.blocking._link.session
        with trio.fail_after(SECONDS):
            while session.failure is None and session.calls:
                await self.look(acc)

    async def settle(self) -> None:
        await sleep(0.03)

    async def look(self, acc: Any) -> None:
        await in_thread(acc.blocking._link.look)
        await trio.sleep(0.001)


DRIVERS: dict[str, Driver] = {"trio": TrioDriver(), "blocking": BlockingDriver()}
# Where the stream makes a difference, the trio driver has another one, in memory.
CALLING: dict[str, Callable[..., AbstractAsyncContextManager[Any]]] = {
    "trio": DRIVERS["trio"].calling,
    "memory": rpc_over_links.calling_in_memory,
    "blocking": DRIVERS["blocking"].calling,
}


# The blocking driver's objects with trio's face.


def _blocking(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of :class:`Scripted` as one that blocks."""

    @functools.wraps(method)
    def call(self: Any, *given: Any) -> Any:
        result = method(self, *map(with_trio_face, given))
        return run_here(result) if inspect.iscoroutine(result) else result

    return call


ScriptedInThreads: Any = type(
    "ScriptedInThreads",
    (Scripted,),
    {name: _blocking(getattr(Scripted, name)) for name in Calls._rpc_definition.operations},
)


def _interceptor_in_threads(interceptor: Callable[..., Any]) -> Callable[..., Any]:
    def intercept(call: Any, proceed: Callable[[Any], Any]) -> Any:
        async def go_on(call: Any) -> Any:
            return proceed(call)

        return run_here(interceptor(call, go_on))

    return intercept


def with_trio_face(value: Any) -> Any:
    if isinstance(value, (blocking.InStream, blocking.OutStream)):
        return Stream(value)
    return Pipe(value) if isinstance(value, (blocking.InPipe, blocking.OutPipe)) else value


class Stream:
    """A stream of values, at either end."""

    def __init__(self, stream: Any) -> None:
        self.blocking = stream

    def __getattr__(self, name: str) -> Any:
        if name == "receive_nowait":
            return lambda: self.blocking.receive(timeout=0)
        attribute = getattr(self.blocking, "close" if name == "aclose" else name)
        if name in ("receive", "receive_many", "send", "send_many", "aclose"):
            return lambda *given: in_thread(attribute, *given)
        return attribute

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        try:
            return await in_thread(self.blocking.receive)
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class Yielded:
    """What an operation yields."""

    def __init__(self, iterator: Any) -> None:
        self.blocking = iterator

    def __aiter__(self) -> Yielded:
        return self

    async def __anext__(self) -> Any:
        value = await in_thread(next, self.blocking, self)
        if value is self:
            raise StopAsyncIteration
        return value

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await in_thread(self.blocking.close)


class Pipe:
    """A pipe, at either end."""

    def __init__(self, pipe: Any) -> None:
        self.blocking = pipe

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.blocking, name)
        if name in ("pull", "push", "close"):
            return lambda *given: in_thread(attribute, *given)
        return attribute

    def __aiter__(self) -> Pipe:
        return self

    async def __anext__(self) -> Any:
        chunk = await in_thread(next, self.blocking, None)
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class Client:
    def __init__(self, client: Any) -> None:
        self.blocking = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.blocking, name)
        if isinstance(attribute, (ClientOperation, blocking.IteratedOperation)):
            return Operation(attribute)
        return attribute

    def __dir__(self) -> list[str]:
        return dir(self.blocking)


class Operation:
    def __init__(self, operation: Any) -> None:
        self.blocking = operation

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if isinstance(self.blocking, blocking.IteratedOperation):
            return Yielded(self.blocking(*arguments, **named))
        return in_thread(self.blocking, *arguments, **named)

    def begin(self, *arguments: Any, **named: Any) -> Handle:
        return Handle(self.blocking.begin(*arguments, **named))

    def with_options(self, **options: Any) -> Operation:
        return Operation(self.blocking.with_options(**options))


class Handle:
    def __init__(self, handle: blocking.CallHandle[Any]) -> None:
        self.blocking = handle
        self.complete_nowait = handle.complete_nowait
        self.cancel = handle.cancel

    @property
    def pipes(self) -> dict[str, Any]:
        return {name: Pipe(pipe) for name, pipe in self.blocking.pipes.items()}

    @property
    def streams(self) -> dict[str, Any]:
        return {name: Stream(stream) for name, stream in self.blocking.streams.items()}

    @property
    def answer_metadata(self) -> Any:
        return self.blocking.answer_metadata

    async def complete(self) -> Any:
        return await in_thread(self.blocking.complete)

    async def __aenter__(self) -> Handle:
        await in_thread(self.blocking.__enter__)
        return self

    async def __aexit__(self, *error: Any) -> None:
        with trio.CancelScope(shield=True):
            await in_thread(self.blocking.__exit__, *error)


@asynccontextmanager
async def _client_in_threads(block: AbstractContextManager[Any]) -> AsyncIterator[Client]:
    client = await in_thread(block.__enter__)
    try:
        yield Client(client)
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await in_thread(block.__exit__, type(error), error, error.__traceback__)
        raise
    await in_thread(block.__exit__, None, None, None)


def has_elements(pipe: Any) -> bool:
    """Whether elements have come for a manager's first pipe."""
    if isinstance(pipe, Pipe):
        pipe._driver.link.look()
    found: bool = pipe._driver.call.incoming[0].reader.has_elements
    return found


async def shut_down(acc: Any) -> None:
    """Waits until a client knows that its server accepts no more calls; ``inline`` answers."""
    with pytest.raises(rpc.ServerUnavailable):
        while True:
            await acc.inline(None)
