"""docs/troubleshooting.md has a section for each public exception class, each class names its
section, and the messages in the sections are those of the code.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import re
import socket
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint, User, blocking, rpc
from ipcpipes.rpc import blocking as rpc_blocking
from ipcpipes.testing import memory_stream_pair, unique_endpoint

from .conftest import WINDOWS, WINE
from .interruptions import interrupted

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "troubleshooting.md"

if not DOCUMENT.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)

TEXT = DOCUMENT.read_text("utf-8")
# The text below each heading, up to the next one.
PARTS = re.split(r"^(##+ .*)\n", TEXT, flags=re.MULTILINE)[1:]
BELOW = {PARTS[i].lstrip("# "): PARTS[i + 1] for i in range(0, len(PARTS), 2)}
SECTIONS = {PARTS[i][4:]: PARTS[i + 1] for i in range(0, len(PARTS), 2) if PARTS[i][:3] == "###"}
ANCHORS = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-"): one for one in BELOW}
LINUX = sys.platform == "linux"


def exceptions_of(module: ModuleType) -> dict[str, type[Exception]]:
    """The public exception classes of a module."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }


CLASSES = {**exceptions_of(ipcpipes), **exceptions_of(rpc), **exceptions_of(rpc_blocking)}
# Sections about exceptions of other libraries and of Python.
OTHERS = {
    "AttributeError",
    "BrokenResourceError",
    "WouldBlock",
    "BusyResourceError",
    "ClosedResourceError",
    "EndOfChannel",
    "ResourceWarning",
    "RuntimeError",
    "RuntimeWarning",
    "TimeoutError",
    "TypeError",
}


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_names_its_section(name: str) -> None:
    lines = inspect.cleandoc(CLASSES[name].__doc__ or "").splitlines()
    assert lines[-1] == f"Cause and cure: docs/troubleshooting.md#{name.lower()}"
    assert lines[-2] == ""
    assert name in SECTIONS


def test_each_section_about_a_class_is_about_a_public_class() -> None:
    about_classes = {name for name in SECTIONS if re.fullmatch(r"[A-Z][A-Za-z]+", name)}
    assert about_classes == {*CLASSES, *OTHERS}


def test_each_section_has_a_message_a_meaning_and_a_cure() -> None:
    for name, section in SECTIONS.items():
        if name in ("IpcError", "RpcError", "PipeError", "Lines in the log"):
            continue  # about several errors
        assert re.search(r"^```text$", section, re.MULTILINE), name
        cure = r"^(\*\*Cure\*\*: |\| cause \| (how to see it \| )?cure \|$)"
        assert re.search(cure, section, re.MULTILINE), name


def test_links_to_sections_exist() -> None:
    assert len(BELOW) == len(ANCHORS) == len(PARTS) / 2
    for anchor in re.findall(r"\]\(#([^)]*)\)", TEXT):
        assert anchor in ANCHORS


def test_table_of_messages_leads_to_sections_that_show_them() -> None:
    rows = re.findall(
        r"^\| (.*) \| \[(.*)\]\(#(.*)\) \|$", BELOW["Find your message"], re.MULTILINE
    )
    leads_to = {text for _, text, _ in rows}
    without_message = {"IpcError", "RpcError", "PipeError", "The connection ends at once"}
    assert {*SECTIONS} - leads_to == without_message
    for cell, text, anchor in rows:
        assert text == ANCHORS[anchor]
        for part in re.findall(r"`([^`]*)`", cell):
            assert part in BELOW[text], anchor


# What a program that meets the error prints as its last line. What differs from run to run, and
# from one system to another, is replaced in both texts.
_VARIABLE = (
    (r"endpoint '[^']*'", "endpoint NAME"),
    (r"\(at .*?\): ", "(at ADDRESS): "),
    (r"\b\w[\w.\\-]* \((?:\d+|S-[\d-]+)\), process \d+", "USER, process PID"),
    (r"process \d+, user \S+", "USER, process PID"),
    (r"process \d+", "process PID"),
    (r"'(?:/|(?:\\){2,4}\.\\)[^']*'", "'PATH'"),
    (r"/\S*\.sock\b", "PATH"),
    (r"(descriptor|handle|number|fd) \d+", r"\1 N"),
    (r"\([0-9a-f-]{36}\)", "(UUID)"),
    (r"(mode|user) \d+", r"\1 N"),
    (r"after \d+ of \d+ bytes", "after SOME of ALL bytes"),
    (r"interrupted after \d+ bytes", "interrupted after SOME bytes"),
    (r"bad yield: .*", "bad yield: SOMETHING"),
    (r"<function .*>", "FUNCTION"),
    # Python 3.12 and later have other words for it.
    (
        r"without an implementation for abstract method '(\w+)'",
        r"with abstract method \1",
    ),
    # Whether a client notices the end while it sends or while it receives is a matter of time.
    (
        r"ended \(the other end has closed or died( \([A-Z][a-z ]+\))?\)",
        "ended (the other end has closed)",
    ),
    (r"; no server listens at .* either", ""),
    (r"up to \d+ messages", "up to SOME messages"),
    (r"(?<=directory )/\S+|(?<=in )/\S+(?= \(mode)|/\S+(?= can be written)", "DIRECTORY"),
)


def without_variables(line: str) -> str:
    for pattern, text in _VARIABLE:
        line = re.sub(pattern, text, line)
    return line


def messages_in(section: str) -> set[str]:
    found = re.findall(r"^```text\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return {without_variables(line) for block in found for line in block.splitlines()}


Provocation = Callable[[], Awaitable[object]]
PROVOCATIONS: dict[str, tuple[str, Provocation]] = {}


def provokes(section: str, *, where: bool = True) -> Callable[[Provocation], Provocation]:
    """Marks a function that raises what the section is about.

    Args:
        where: whether this system raises it.
    """

    def register(function: Provocation) -> Provocation:
        if where:
            PROVOCATIONS[function.__name__] = (section, function)
        return function

    return register


async def caught(function: Callable[[], Awaitable[object]]) -> BaseException:
    """Returns what ``function()`` raises; of a group of one, the exception in it."""
    try:
        await function()
    except BaseException as error:
        found: BaseException = error
        while isinstance(found, BaseExceptionGroup):
            (found,) = found.exceptions
        return found
    raise AssertionError("nothing was raised")


# Connecting


@provokes("EndpointNotFound")
async def connect_without_a_server() -> None:
    await ipcpipes.connect(unique_endpoint())


@provokes("EndpointNotFound")
async def connect_without_a_server_for_a_while() -> None:
    await ipcpipes.connect(unique_endpoint(), wait=0.05)


@provokes("EndpointNotFound")
async def connect_to_a_number_that_is_not_inherited() -> None:
    await ipcpipes.connect(Endpoint.inherited(99_996))


@provokes("EndpointNotFound", where=not WINDOWS)
async def take_over_a_socket_twice() -> None:
    ours, theirs = socket.socketpair()
    where = Endpoint.from_socket(ours)
    with theirs:
        async with await ipcpipes.connect(where):
            await ipcpipes.connect(where)


@provokes("NotAnEndpoint", where=LINUX)
async def take_over_a_socket_without_a_connection() -> None:
    if sys.platform != "win32":
        with socket.socket(socket.AF_UNIX) as lonely:
            await ipcpipes.connect(Endpoint.from_socket(lonely))


@provokes("EndpointRefused", where=not WINDOWS)
async def connect_to_a_dead_socket() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint) as listener:
        path = Path(listener.address)
    if sys.platform != "win32":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    try:
        await ipcpipes.connect(endpoint)
    finally:
        path.unlink()


@provokes("EndpointBusy", where=sys.platform != "darwin")
async def connect_to_a_full_server() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint, max_instances=1) as listener:
        async with await ipcpipes.connect(endpoint), await listener.accept():
            await ipcpipes.connect(endpoint)


@provokes("EndpointDenied", where=LINUX)
async def connect_with_another_type_of_socket() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint):
        await ipcpipes.connect_messages(endpoint, framing=ipcpipes.NATIVE)


@provokes("EndpointDenied", where=WINDOWS)
async def connect_in_the_wrong_direction() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint, direction="receive"):
        await ipcpipes.connect(endpoint, direction="receive")


@provokes("EndpointDenied", where=WINDOWS)
async def connect_with_native_messages_to_a_stream() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint):
        await ipcpipes.connect_messages(endpoint, framing=ipcpipes.NATIVE)


@provokes("EndpointDenied", where=not WINDOWS)
async def take_over_the_other_end_of_a_pipe() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        await ipcpipes.connect(Endpoint.inherited(writing), direction="receive")
    finally:
        os.close(reading)
        os.close(writing)


@provokes("UntrustedServer", where=not WINDOWS)
async def connect_to_a_user_that_is_not_trusted() -> None:
    endpoint = unique_endpoint()
    if sys.platform != "win32":
        policy = AccessPolicy(allow=[User(12345)], deny=[User(os.geteuid())])
        async with await ipcpipes.listen(endpoint):
            await ipcpipes.connect(endpoint, server=policy)


# Listening


@provokes("EndpointInUse", where=not WINE)  # Wine lets a second listener make the pipe
async def listen_twice() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint):
        await ipcpipes.listen(endpoint)


@provokes("NotAnEndpoint", where=not WINDOWS)
async def listen_at_a_file() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint) as listener:
        path = Path(listener.address)
    path.touch()
    try:
        await ipcpipes.listen(Endpoint.path(path))
    finally:
        path.unlink()
        Path(f"{path}.lock").unlink(missing_ok=True)


@provokes("UnsafeDirectory", where=not WINDOWS)
async def listen_where_every_user_can_write() -> None:
    directory = Path(os.environ["XDG_RUNTIME_DIR"], "shared")
    directory.mkdir()
    directory.chmod(0o777)
    try:
        await ipcpipes.listen(directory / "svc.sock")
    finally:
        directory.rmdir()


@provokes("UnsafeDirectory", where=not WINDOWS)
async def listen_in_an_unsafe_runtime_directory() -> None:
    directory = Path(os.environ["XDG_RUNTIME_DIR"])
    directory.chmod(0o777)
    try:
        await ipcpipes.listen(unique_endpoint())
    finally:
        directory.chmod(0o700)


@provokes("EndpointNotFound", where=not WINDOWS)
async def listen_in_a_missing_directory() -> None:
    await ipcpipes.listen("/tmp/ipcpipes-missing/svc.sock")


@provokes("InvalidEndpoint")
async def name_with_a_space() -> None:
    await ipcpipes.connect("my service")


@provokes("InvalidEndpoint")
async def relative_path() -> None:
    await ipcpipes.connect(Path("run", "svc.sock").as_posix())


@provokes("InvalidEndpoint", where=not WINDOWS)
async def path_of_windows() -> None:
    await ipcpipes.connect(r"\\.\pipe\svc")


@provokes("InvalidEndpoint", where=LINUX)
async def path_that_is_too_long() -> None:
    directory = "/home/you/shop/build/tmp/pytest-of-you/pytest-12/popen-gw0"
    await ipcpipes.connect(f"{directory}/test_two_clients_get_two_answers_at_once0/shop.sock")


@provokes("InvalidEndpoint", where=WINDOWS)
async def path_of_posix() -> None:
    await ipcpipes.connect("/run/svc.sock")


@provokes("NotSupported", where=WINDOWS)
async def abstract_name() -> None:
    await ipcpipes.connect(Endpoint.abstract("svc"))


@provokes("NotSupported", where=sys.platform == "darwin")
async def native_messages() -> None:
    await ipcpipes.connect_messages("svc", framing=ipcpipes.NATIVE)


@provokes("NotSupported")
async def descriptors_in_memory() -> None:
    left, _ = memory_stream_pair()
    await left.send_descriptors(b"x", [0])


@provokes("UnknownAccount")
async def listen_for_a_user_that_does_not_exist() -> None:
    await ipcpipes.listen(unique_endpoint(), access=AccessPolicy(allow=[User("postgers")]))


# Sending and receiving


async def pair() -> tuple[ipcpipes.Stream, ipcpipes.Stream]:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint) as listener:
        client = await ipcpipes.connect(endpoint)
        return client, await listener.accept()


async def channels() -> tuple[ipcpipes.MessageChannel, ipcpipes.Stream]:
    client, server = await pair()
    return ipcpipes.MessageChannel(client), server


@provokes("BrokenResourceError")
async def send_to_a_peer_that_has_closed() -> None:
    client, server = await pair()
    await server.aclose()
    async with client:
        await client.send_all(b"too late")


@provokes("BrokenResourceError")
async def send_after_a_cancelled_send() -> None:
    client, server = await pair()
    async with client, server:
        with trio.move_on_after(0.05):
            await client.send_all(bytes(2**24))
        await client.send_all(b"more")


@provokes("BrokenResourceError")
async def send_after_a_send_that_timed_out() -> None:
    endpoint = unique_endpoint()
    with blocking.listen_messages(endpoint) as listener:
        with blocking.connect_messages(endpoint) as client, listener.accept():
            with suppress(TimeoutError):
                client.send(bytes(16_000_000), timeout=0.1)
            client.send(b"more")


async def channel_that_is_full() -> tuple[Any, Any]:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen_messages(endpoint) as listener:
        client = await ipcpipes.connect_messages(endpoint)
        server = await listener.accept()
    is_full = False
    while not is_full:
        try:
            client.send_nowait(bytes(1000))
        except trio.WouldBlock:
            with trio.move_on_after(0.05) as scope:
                await client.wait_sent()
            is_full = scope.cancelled_caught
    return client, server


@provokes("BrokenResourceError")
async def close_with_messages_for_a_peer_that_has_closed() -> None:
    client, server = await channel_that_is_full()
    await server.aclose()
    await client.aclose()


@provokes("BrokenResourceError")
async def close_with_messages_for_a_peer_that_does_not_read() -> None:
    client, server = await channel_that_is_full()
    async with server:
        await client.aclose()


@provokes("BrokenResourceError")
async def receive_after_an_interrupted_transact() -> None:
    endpoint = unique_endpoint()
    with blocking.listen_messages(endpoint) as listener:
        with blocking.connect_messages(endpoint) as client, listener.accept():
            error = None
            step = 0
            while error is None:
                step += 1
                with suppress(TimeoutError):
                    interrupted(step, partial(client.transact, b"request", timeout=0))
                try:
                    client.receive(timeout=0)
                except TimeoutError:
                    pass
                except trio.BrokenResourceError as broken:
                    error = broken
            raise error


@provokes("WouldBlock")
async def take_what_has_not_arrived() -> None:
    client, server = await channel_that_is_full()
    async with server:
        try:
            client.receive_nowait()
        finally:
            with trio.CancelScope() as scope:
                scope.cancel()
                await client.aclose()


@provokes("ClosedResourceError")
async def receive_after_closing() -> None:
    client, server = await pair()
    await client.aclose()
    async with server:
        await client.receive_some()


@provokes("ClosedResourceError")
async def accept_after_closing() -> None:
    listener = await ipcpipes.listen(unique_endpoint())
    await listener.aclose()
    await listener.accept()


@provokes("BusyResourceError")
async def receive_in_two_tasks() -> None:
    client, server = await pair()
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(client.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        await client.receive_some()


@provokes("BusyResourceError")
async def send_in_two_tasks() -> None:
    client, server = await pair()
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, bytes(2**24))
        await trio.testing.wait_all_tasks_blocked(0.05)
        await client.send_all(b"x")


@provokes("EndOfChannel")
async def receive_after_the_end() -> None:
    channel, server = await channels()
    await server.aclose()
    async with channel:
        await channel.receive()


@provokes("TimeoutError")
async def receive_for_too_long() -> None:
    endpoint = unique_endpoint()
    with blocking.listen_messages(endpoint) as listener:
        with blocking.connect_messages(endpoint) as client, listener.accept():
            client.receive(timeout=0.1)


@provokes("TimeoutError")
async def send_for_too_long() -> None:
    endpoint = unique_endpoint()
    with blocking.listen_messages(endpoint) as listener:
        with blocking.connect_messages(endpoint) as client, listener.accept():
            client.send(bytes(16_000_000), timeout=0.3)


@provokes("TimeoutError")
async def accept_for_too_long() -> None:
    with blocking.listen(unique_endpoint()) as listener:
        listener.accept(timeout=0.2)


@provokes("TimeoutError")
async def complete_for_too_long() -> None:
    endpoint = unique_endpoint()
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, ShopManager(), endpoint)
        await trio.to_thread.run_sync(complete_in_a_thread, endpoint)


def complete_in_a_thread(endpoint: Endpoint) -> None:
    with rpc_blocking.connect(Shop, endpoint) as client:
        with rpc_blocking.client_of(client).sleep.begin() as call:
            call.complete(timeout=0.05)


@provokes("Nothing happens")
async def different_framings() -> None:
    endpoint = unique_endpoint()
    async with trio.open_nursery() as nursery:
        serve = partial(ipcpipes.serve_messages, echo, endpoint, framing=ipcpipes.Lines())
        await nursery.start(serve)
        async with await ipcpipes.connect_messages(endpoint) as client:
            with trio.fail_after(0.1):
                await client.send(b"hello")
                await client.receive()


async def test_server_of_another_framing_logs_the_end_inside_a_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "ipcpipes")
    endpoint = unique_endpoint()
    async with trio.open_nursery() as nursery:
        serve = partial(ipcpipes.serve_messages, echo, endpoint, framing=ipcpipes.Lines())
        listener = await nursery.start(serve)
        async with await ipcpipes.connect_messages(endpoint) as client:
            await client.send(b"hello")
        await trio.testing.wait_all_tasks_blocked(0.05)
        await listener.aclose()
    (line,) = caplog.messages
    shown = "a client of … has left: the stream ended inside a message"
    assert re.match(shown.replace("…", ".*"), line)
    assert f"`{shown}`" in SECTIONS["Nothing happens"]


async def echo(channel: ipcpipes.MessageChannel) -> None:
    async for message in channel:
        await channel.send(message)


@provokes("ResourceWarning")
async def forget_to_close() -> None:
    client, server = await pair()
    async with server:
        with warnings.catch_warnings(record=True) as caught_warnings:
            warnings.simplefilter("always")
            del client
            gc.collect()
    raise caught_warnings[0].message  # type: ignore[misc]  # it is a Warning, not a str


# Messages and framing


@provokes("FramingError")
async def send_the_delimiter() -> None:
    left, _ = memory_stream_pair()
    async with ipcpipes.MessageChannel(left, ipcpipes.Lines()) as channel:
        await channel.send(b"two\nlines")


@provokes("FramingError")
async def receive_something_else() -> None:
    left, right = memory_stream_pair()
    async with ipcpipes.MessageChannel(left, ipcpipes.ContentLength()) as channel:
        await right.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await channel.receive()


@provokes("FramingError")
async def receive_lines_as_content_length() -> None:
    left, right = memory_stream_pair()
    async with ipcpipes.MessageChannel(left, ipcpipes.ContentLength()) as channel:
        await right.send_all(b'{"jsonrpc": "2.0"}\n')
        await channel.receive()


@provokes("MessageTooLarge")
async def send_too_much() -> None:
    left, _ = memory_stream_pair()
    async with ipcpipes.MessageChannel(left) as channel:
        await channel.send(bytes(20_000_000))


@provokes("MessageTooLarge")
async def receive_text_as_a_length() -> None:
    left, right = memory_stream_pair()
    async with ipcpipes.MessageChannel(left) as channel:
        await right.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await channel.receive()


@provokes("MessageTooLarge")
async def receive_into_too_little_memory() -> None:
    left, right = memory_stream_pair()
    async with ipcpipes.MessageChannel(left) as channel, ipcpipes.MessageChannel(right) as peer:
        await peer.send(bytes(16))
        await channel.receive_into(bytearray(8))


@provokes("IncompleteMessage")
async def receive_half_a_message() -> None:
    left, right = memory_stream_pair()
    async with ipcpipes.MessageChannel(left) as channel:
        await right.send_all((1000).to_bytes(4, "little") + b"only this")
        await right.aclose()
        await channel.receive()


@provokes("DescriptorsLost", where=not WINDOWS)
async def receive_more_descriptors_than_asked_for() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen_messages(endpoint, max_descriptors=8) as listener:
        client = await ipcpipes.connect_messages(endpoint, max_descriptors=1)
        async with client, await listener.accept() as server:
            await server.send_descriptors(b"three files", [0, 0, 0])
            await client.receive_descriptors()


# Authentication


async def nothing(_: object) -> None:
    pass


async def to_a_server_with_a_key(client_key: bytes | None) -> None:
    endpoint = unique_endpoint()
    async with trio.open_nursery() as nursery:
        serve = partial(ipcpipes.serve_messages, nothing, endpoint, authkey=b"k" * 32)
        await nursery.start(serve)
        try:
            client = await ipcpipes.connect_messages(endpoint, authkey=client_key)
            async with client:
                await client.send(b"an ordinary message, long enough to be no hello")
                await client.receive()
        finally:
            nursery.cancel_scope.cancel()


@provokes("AuthenticationFailed")
async def client_with_another_key() -> None:
    await to_a_server_with_a_key(b"x" * 32)


@provokes("AuthenticationFailed")
async def client_without_a_key() -> None:
    await to_a_server_with_a_key(None)


@provokes("AuthenticationFailed")
async def server_without_a_key() -> None:
    endpoint = unique_endpoint()

    async def greet(stream: ipcpipes.Stream) -> None:
        await stream.send_all(b"welcome to a server without a key, dear client")

    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve, greet, endpoint)
        try:
            await ipcpipes.connect(endpoint, authkey=b"k" * 32)
        finally:
            nursery.cancel_scope.cancel()


@provokes("AuthenticationFailed")
async def server_of_messages_without_a_key() -> None:
    endpoint = unique_endpoint()
    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve_messages, nothing, endpoint)
        try:
            await ipcpipes.connect_messages(endpoint, authkey=b"k" * 32)
        finally:
            nursery.cancel_scope.cancel()


@provokes("ImpersonationRefused", where=LINUX)
async def act_as_a_client_that_does_not_allow_it() -> None:
    client, server = await pair()
    async with client, server:
        await server.run_as_client(os.getpid)


# Children and workers


@provokes("NoParent")
async def ask_for_a_parent() -> None:
    async with ipcpipes.parent_stream():
        pass


@provokes("NoParent")
async def ask_for_a_master() -> None:
    async with ipcpipes.group_worker():
        pass


@provokes("WorkerFailed")
async def workers_that_crash() -> None:
    group = ipcpipes.WorkerGroup([sys.executable, "-c", "exit(1)"], 1, restarts=0)
    await group.run()


# Remote calls


SHOP = "6d9a5d0e-4a86-4a64-9a3c-3f1f2f0c8a11"
Stars = Annotated[rpc.InPipe[rpc.int32], rpc.Range(10, 100)]


class Shop(rpc.Interface, uuid=SHOP, version=(1, 0)):
    @rpc.operation
    async def price(self, book: str) -> int:
        raise NotImplementedError

    @rpc.operation
    async def stock(self, number: rpc.int64) -> bytes:
        raise NotImplementedError

    @rpc.operation
    async def sleep(self) -> None: ...

    @rpc.operation
    async def total(self, prices: rpc.InPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def matches(self, word: str, found: rpc.OutPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def rate(self, stars: Stars) -> int:
        raise NotImplementedError

    @rpc.operation
    async def forget(self):  # type: ignore[no-untyped-def]  # without a type of the result
        ...

    async def refund(self, book: str) -> None:
        """Not an operation, because it has no decorator."""


class ShopManager(Shop):
    async def price(self, book: str) -> int:
        return {"Emma": 12}[book]

    async def stock(self, number: int) -> bytes:
        return bytes(number)

    async def sleep(self) -> None:
        await trio.sleep_forever()

    async def total(self, prices: rpc.InPipe[rpc.int32]) -> int:
        return 0  # without a look at the prices

    async def matches(self, word: str, found: rpc.OutPipe[rpc.int32]) -> int:
        await found.push([1])
        if word == "Emma":
            await found.close()
        return 1

    async def rate(self, stars: rpc.InPipe[rpc.int32]) -> int:
        return sum([len(chunk) async for chunk in stars])

    async def forget(self) -> int:
        return 5


# The same interface as other programs may have it.
class OtherShop(rpc.Interface, uuid=SHOP, version=(2, 0)):
    @rpc.operation
    async def price(self, book: str) -> int:
        raise NotImplementedError


class NewerShop(rpc.Interface, uuid=SHOP, version=(1, 1)):
    @rpc.operation
    async def reserve(self, book: str) -> None: ...

    @rpc.operation
    async def total(self, prices: rpc.InPipe[rpc.float64]) -> float:
        raise NotImplementedError


class Library(rpc.Interface, uuid="6d9a5d0e-4a86-4a64-9a3c-3f1f2f0c8a12", version=(1, 0)):
    @rpc.operation
    async def lend(self, book: str) -> None: ...


@asynccontextmanager
async def shop(interface: type[Any] = Shop, **options: Any) -> AsyncIterator[Any]:
    """A server of the shop and a client, in memory."""
    left, right = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve_connection, ShopManager(), right, **options))
        async with rpc.bind(interface, left) as client:
            yield client
        nursery.cancel_scope.cancel()


@provokes("Fault")
async def manager_that_raises() -> None:
    async with shop() as client:
        await client.price("Faust")


@provokes("BadStubData")
async def argument_of_another_type() -> None:
    async with shop() as client:
        await client.price(5)


@provokes("BadStubData")
async def result_that_is_too_large() -> None:
    async with shop() as client:
        await client.stock(20_000_000)


@provokes("BadStubData")
async def arguments_that_are_too_large() -> None:
    async with shop() as client:
        await client.price("x" * 20_000_000)


@provokes("BadStubData")
async def result_without_a_type() -> None:
    async with shop() as client:
        await client.forget()


@provokes("CallTimedOut")
async def call_that_takes_too_long() -> None:
    async with shop() as client:
        await client.sleep.with_options(timeout=0.1)()


@provokes("CallCancelled")
async def call_that_is_given_up() -> None:
    async with shop() as client, client.sleep.begin() as call:
        call.cancel()
        await call.complete()


@provokes("CommFailure")
async def server_that_dies() -> None:
    left, right = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, ShopManager(), right)
        async with rpc.bind(Shop, left) as client:
            nursery.start_soon(end_soon, right)
            await client.sleep()


@provokes("CommFailure")
async def server_that_closes_at_once() -> None:
    endpoint = unique_endpoint()
    async with await ipcpipes.listen(endpoint) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(accept_and_close, listener)
        async with rpc.connect(Shop, endpoint):
            pass


@provokes("CommFailure")
async def server_that_dies_inside_a_frame() -> None:
    client, server = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_half_a_frame, server)
        async with rpc.bind(Shop, client):
            pass


async def send_half_a_frame(stream: ipcpipes.Stream) -> None:
    async with stream:
        await stream.receive_some()
        await stream.send_all(b"\x10\0")


@provokes("CommFailure")
async def server_that_closes_before_the_client_sends() -> None:
    client, server = await pair()
    await server.aclose()
    async with rpc.bind(Shop, client):
        pass


async def accept_and_close(listener: ipcpipes.Listener[ipcpipes.Stream]) -> None:
    """As a listener does with a client that its access policy does not allow."""
    await (await listener.accept()).aclose()


async def end_soon(stream: trio.abc.AsyncResource) -> None:
    await trio.testing.wait_all_tasks_blocked(0.05)
    await stream.aclose()


@provokes("ServerUnavailable")
async def call_after_the_end() -> None:
    left, right = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, ShopManager(), right)
        async with rpc.bind(Shop, left) as client:
            await right.aclose()
            await trio.testing.wait_all_tasks_blocked(0.05)
            await client.price("Emma")


@provokes("ServerUnavailable")
async def call_while_the_server_shuts_down() -> None:
    finishing = trio.Event()
    async with shop(finishing=finishing) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.sleep)
        await trio.testing.wait_all_tasks_blocked(0.05)
        finishing.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        try:
            await client.price("Emma")
        finally:
            nursery.cancel_scope.cancel()


@provokes("ServerUnavailable")
async def call_after_the_block() -> None:
    async with shop() as client:
        pass
    await client.price("Emma")


@provokes("BindTimeout")
async def server_that_is_silent() -> None:
    left, _ = memory_stream_pair()
    async with rpc.bind(Shop, left, bind_timeout=0.1):
        pass


@provokes("ProtocolError")
async def server_of_messages() -> None:
    left, right = memory_stream_pair()
    await right.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with rpc.bind(Shop, left):
        pass


@provokes("ProtocolError")
async def server_that_requires_a_key() -> None:
    endpoint = unique_endpoint()
    async with trio.open_nursery() as nursery:
        serve = partial(rpc.serve, ShopManager(), endpoint, authkey=b"k" * 32)
        await nursery.start(serve)
        try:
            async with rpc.connect(Shop, endpoint):
                pass
        finally:
            nursery.cancel_scope.cancel()


@provokes("UnknownInterface")
async def server_of_another_interface() -> None:
    async with shop(Library):
        pass


@provokes("UnknownInterface")
async def server_of_another_major_version() -> None:
    async with shop(OtherShop):
        pass


@provokes("ProcnumOutOfRange")
async def server_that_is_older() -> None:
    async with shop(NewerShop) as client:
        await client.reserve("Emma")


@provokes("WrongPipeVersion")
async def server_with_another_pipe() -> None:
    async with shop(NewerShop) as client:
        await client.total([1.5])


@provokes("PipeDisciplineError")
async def manager_that_returns_too_early() -> None:
    async with shop() as client:
        await client.total([1, 2, 3])


@provokes("PipeDisciplineError")
async def manager_that_does_not_close() -> None:
    async with shop() as client:
        await client.matches("Persuasion", [])


@provokes("InvalidBound")
async def too_few_elements() -> None:
    async with shop() as client:
        await client.rate([5, 4, 5])


@provokes("PipeClosed")
async def push_after_close() -> None:
    async with shop() as client, client.rate.begin() as call:
        await call.pipes["stars"].close()
        await call.pipes["stars"].push([5] * 10)


@provokes("PipeEmpty")
async def pull_after_the_end() -> None:
    async with shop() as client, client.matches.begin("Emma") as call:
        async for _ in call.pipes["found"]:
            pass
        await call.pipes["found"].pull()


class TwoPipes(rpc.Interface, uuid="6d9a5d0e-4a86-4a64-9a3c-3f1f2f0c8a13", version=(1, 0)):
    @rpc.operation
    async def copy(self, source: rpc.InPipe[rpc.byte], target: rpc.OutPipe[rpc.byte]) -> None: ...


class TwoPipesManager(TwoPipes):
    async def copy(self, source: rpc.InPipe[rpc.byte], target: rpc.OutPipe[rpc.byte]) -> None:
        await target.push(b"x")


async def copy_through(manager: TwoPipes) -> None:
    left, right = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, manager, right)
        async with rpc.bind(TwoPipes, left) as client:
            await client.copy(rpc.feed(b"data"), rpc.drain(bytearray()))


@provokes("WrongPipeOrder")
async def out_pipe_before_the_in_pipe() -> None:
    await copy_through(TwoPipesManager())


@provokes("PipeAppMemory")
async def pull_of_nothing() -> None:
    async with shop() as client, client.matches.begin("Emma") as call:
        await trio.testing.wait_all_tasks_blocked(0.05)
        await call.pipes["found"].pull(0)


@provokes("AsyncCallPending")
async def result_that_is_not_there_yet() -> None:
    async with shop() as client, client.sleep.begin() as call:
        call.complete_nowait()


@provokes("InvalidAsyncHandle")
async def complete_twice() -> None:
    async with shop() as client, client.price.begin("Emma") as call:
        await call.complete()
        await call.complete()


@provokes("InvalidAsyncCall")
async def enter_a_handle_twice() -> None:
    async with shop() as client, client.sleep.begin() as call, call:
        pass


@provokes("NoCallActive")
async def ask_for_the_call_outside_a_call() -> None:
    rpc.current_call()


@provokes("DefinitionError")
async def operation_without_a_type() -> None:
    class Untyped(rpc.Interface, uuid="6d9a5d0e-4a86-4a64-9a3c-3f1f2f0c8a14", version=(1, 0)):
        @rpc.operation
        async def price(self, book) -> int:  # type: ignore[no-untyped-def]
            raise NotImplementedError


# Mistakes that Python reports


@provokes("TypeError")
async def connect_with_a_timeout() -> None:
    await ipcpipes.connect("svc", timeout=10)  # type: ignore[call-overload]


@provokes("TypeError", where=(3, 11) <= sys.version_info < (3, 14))
async def channel_in_a_plain_with() -> None:
    left, _ = memory_stream_pair()
    with ipcpipes.MessageChannel(left):  # type: ignore[attr-defined]
        pass


@provokes("TypeError", where=(3, 11) <= sys.version_info < (3, 14))
async def remote_calls_in_a_plain_with() -> None:
    with rpc.connect(Shop, "svc"):  # type: ignore[attr-defined]
        pass


@provokes("TypeError", where=sys.version_info < (3, 14))
async def await_a_context_manager() -> None:
    await rpc.connect(Shop, "svc")  # type: ignore[misc]


@provokes("TypeError", where=sys.version_info < (3, 14))
async def await_a_blocking_function() -> None:
    endpoint = unique_endpoint()
    with blocking.listen_messages(endpoint):
        with blocking.connect_messages(endpoint) as channel:
            await channel  # type: ignore[misc]


@provokes("TypeError")
async def start_with_an_option() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(echo, framing=ipcpipes.Lines())  # type: ignore[call-arg]


@provokes("TypeError")
async def send_text() -> None:
    left, _ = memory_stream_pair()
    async with ipcpipes.MessageChannel(left) as channel:
        await channel.send("hello")  # type: ignore[arg-type]


@provokes("TypeError")
async def receive_with_a_timeout_without_its_name() -> None:
    endpoint = unique_endpoint()
    with blocking.listen_messages(endpoint):
        with blocking.connect_messages(endpoint) as channel:
            channel.receive(5)  # type: ignore[call-arg]


@provokes("TypeError")
async def call_with_a_timeout() -> None:
    async with shop() as client:
        await client.sleep(timeout=5)


@provokes("TypeError")
async def manager_without_an_operation() -> None:
    class LibraryManager(Library):
        pass

    LibraryManager()  # type: ignore[abstract]  # which is the mistake


@provokes("AttributeError")
async def use_a_connection_that_was_not_awaited() -> None:
    connecting = ipcpipes.connect("svc")
    try:
        connecting.receive_some  # type: ignore[attr-defined]  # noqa: B018
    finally:
        connecting.close()


@provokes("AttributeError")
async def call_what_is_not_marked_as_an_operation() -> None:
    async with shop() as client:
        await client.refund("Emma")


@provokes("RuntimeError")
async def connect_under_asyncio() -> None:
    async def main() -> None:
        await ipcpipes.connect(unique_endpoint())

    await trio.to_thread.run_sync(asyncio.run, main())


@provokes("RuntimeError")
async def open_a_child_under_asyncio() -> None:
    async def main() -> None:
        async with ipcpipes.open_child([sys.executable, "-c", ""]):
            pass

    await trio.to_thread.run_sync(asyncio.run, main())


@provokes("RuntimeError")
async def run_inside_a_run() -> None:
    trio.run(trio.sleep, 0)


@provokes("RuntimeWarning")
async def forget_to_await() -> None:
    left, _ = memory_stream_pair()
    channel = ipcpipes.MessageChannel(left)
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        channel.send(b"hello")  # type: ignore[unused-coroutine]
        gc.collect()
    raise caught_warnings[0].message  # type: ignore[misc]  # it is a Warning, not a str


async def test_log_names_a_handler_that_is_not_async(caplog: pytest.LogCaptureFixture) -> None:
    def handler(channel: ipcpipes.MessageChannel) -> None:
        pass

    endpoint = unique_endpoint()
    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve_messages, handler, endpoint)
        async with await ipcpipes.connect_messages(endpoint) as client:
            with pytest.raises(trio.EndOfChannel):
                await client.receive()
        nursery.cancel_scope.cancel()
    last_line = caplog.text.splitlines()[-1]
    assert without_variables(last_line) in messages_in(SECTIONS["TypeError"])


@pytest.mark.parametrize("name", PROVOCATIONS)
async def test_message_is_as_the_document_shows_it(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    section, function = PROVOCATIONS[name]
    error = await caught(function)
    printed = traceback.format_exception_only(error)
    line = "".join(printed).splitlines()[-1]
    assert without_variables(line) in messages_in(SECTIONS[section])
