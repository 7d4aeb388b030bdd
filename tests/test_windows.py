"""Named pipes on Windows. Settings are read back, because Wine does not enforce all of them."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint

if sys.platform != "win32":
    pytest.skip("about named pipes", allow_module_level=True)

from ipcpipes._os.windows import calls
from ipcpipes._os.windows.blocking import duplex as windows_blocking_duplex
from ipcpipes._os.windows.opened import Opened

from .children import SECONDS, python_child
from .threads import Worker, stream_pair


async def test_default_descriptor_allows_only_this_user(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, backlog=2) as listener:
        sid = calls.current_user_sid()
        assert sid.startswith("S-1-5-")
        assert listener.address == rf"\\.\pipe\ipcpipes.{sid}.{endpoint.name}"
        async with await ipcpipes.connect(endpoint), await listener.accept() as server:
            handles = [server._number, *(instance.number for instance in listener._waiting)]
            for handle in handles:  # the first instance and its successors
                assert calls.security(handle) == f"D:P(A;;FA;;;{sid})"


async def test_everyone_may_connect_but_not_create_instances(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, access=AccessPolicy.everyone()) as listener:
        security = calls.security(listener._waiting[0].number)
        assert "(A;;0x12019b;;;WD)" in security
        assert 0x12019B & 0x4 == 0  # FILE_CREATE_PIPE_INSTANCE


async def test_pipe_is_in_byte_mode(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, buffer_size=12345) as listener:
        handle = listener._waiting[0].number
        flags, instances = calls.pipe_flags(handle)
        assert flags & 0x5 == 0x1  # PIPE_SERVER_END, not PIPE_TYPE_MESSAGE
        assert instances in (255, 2**32 - 1)  # PIPE_UNLIMITED_INSTANCES; Wine has the second value
        assert calls.buffer_sizes(handle)[0] == 12345
        assert calls.buffer_sizes(handle)[1] == 12345


async def test_names_are_not_case_sensitive(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        upper = Endpoint.path(listener.address.upper())
        async with await ipcpipes.connect(upper), await listener.accept():
            pass


@pytest.mark.parametrize(("server", "client"), [("receive", "receive"), ("send", "send")])
async def test_wrong_direction_is_refused(endpoint: Endpoint, server: Any, client: Any) -> None:
    async with await ipcpipes.listen(endpoint, direction=server, backlog=1):
        for wrong in (client, "duplex"):
            with pytest.raises(PermissionError, match="other direction"):
                await ipcpipes.connect(endpoint, direction=wrong)


async def test_name_stays_taken_until_connections_close(endpoint: Endpoint) -> None:
    listener = await ipcpipes.listen(endpoint, backlog=1)
    client = await ipcpipes.connect(endpoint)
    server = await listener.accept()
    await listener.aclose()
    with pytest.raises(ipcpipes.EndpointBusy):
        await ipcpipes.connect(endpoint)
    await server.aclose()
    await client.aclose()
    with pytest.raises(FileNotFoundError):
        await ipcpipes.connect(endpoint)


async def test_pipe_exists_at_every_moment(endpoint: Endpoint) -> None:
    """With one connection at a time the last instance is closed again and again, but the name never
    disappears: a client that polls gets EndpointBusy, never EndpointNotFound.
    """
    seen = []

    async def poll() -> None:
        while True:
            try:
                async with await ipcpipes.connect(endpoint) as stream:
                    await stream.receive_some()
                seen.append("in")
            except ipcpipes.EndpointBusy:
                seen.append("busy")

    async with await ipcpipes.listen(endpoint, max_instances=1) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll)
            nursery.start_soon(poll)
            for _ in range(50):
                async with await listener.accept():
                    pass
            nursery.cancel_scope.cancel()
    assert "in" in seen


async def test_polling_process_never_finds_the_pipe_missing(endpoint: Endpoint) -> None:
    """Some of its clients connect between the making of an instance and the wait on it."""
    with python_child(
        """
        say("here")
        hear()
        count = 0
        while count < 200:
            try:
                async with await ipcpipes.connect(sys.argv[1]) as stream:
                    await stream.receive_some()
                count += 1
            except ipcpipes.EndpointBusy:
                pass
        say("done")
        """,
        endpoint.name,
    ) as child:
        assert child.hear() == "here"
        async with await ipcpipes.listen(endpoint, max_instances=1) as listener:
            child.say("go")
            for _ in range(200):
                with trio.fail_after(SECONDS):
                    await (await listener.accept()).aclose()
            assert child.hear() == "done"


async def test_client_connected_before_the_wait_is_accepted(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ERROR_PIPE_CONNECTED the system uses neither the operation nor the event."""
    clients = Opened()
    begin = calls.begin_connect

    def begin_late(handle: int, operation: Any, event: int) -> int:
        assert calls.open_pipe(clients, rf"\\.\pipe\{endpoint.name}", "duplex") > 0
        return begin(handle, operation, event)

    monkeypatch.setattr(calls, "begin_connect", begin_late)
    where = Endpoint.dotnet(endpoint.name)
    async with await ipcpipes.listen(where, backlog=2, max_instances=2) as listener:
        for _ in range(2):
            with trio.fail_after(SECONDS):
                await (await listener.accept()).aclose()
        monkeypatch.undo()
    clients.close()


async def test_handles_do_not_leak(endpoint: Endpoint) -> None:
    counts = []
    for _ in range(3):
        async with await ipcpipes.listen(endpoint, backlog=3) as listener:
            for _ in range(30):
                client = await ipcpipes.connect(endpoint)
                server = await listener.accept()
                with trio.move_on_after(0):
                    await server.receive_some()
                await client.aclose()
                await server.aclose()
        counts.append(handle_count())
    assert counts[2] <= counts[1] <= counts[0] + 5


def handle_count() -> int:
    import ctypes

    count = ctypes.c_ulong()
    kernel = ctypes.windll.kernel32
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    assert kernel.GetProcessHandleCount(
        ctypes.c_void_p(kernel.GetCurrentProcess()), ctypes.byref(count)
    )
    return count.value


async def test_path_of_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a local pipe"):
        await ipcpipes.connect(sys.executable)


def test_sender_during_close_gets_closed_resource_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = stream_pair()
    duplex = windows_blocking_duplex.Duplex(here)
    duplex.load(bytes(10 * 2**20))
    assert not duplex.send_now()
    abandon = calls.abandon

    def abandon_while_sending(handle: int, operation: Any) -> int:
        with pytest.raises(trio.ClosedResourceError):
            Worker(duplex.send_now).result()
        return int(abandon(handle, operation))

    monkeypatch.setattr(calls, "abandon", abandon_while_sending)
    duplex.give_up()
    monkeypatch.undo()
    with pytest.raises(trio.ClosedResourceError):
        duplex.send_now()
    here.close()
    there.close()
