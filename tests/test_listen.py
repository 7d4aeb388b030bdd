"""Listening: names that are held and never stolen, limits, and an accept that survives."""

from __future__ import annotations

import errno
import gc
import logging
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint
from ipcpipes.testing import check_listener, unique_endpoint

from .children import SECONDS, python_child, several_children
from .conftest import WINDOWS
from .pairs import receive_exactly

posix_only = pytest.mark.skipif(WINDOWS, reason="about socket files, which Windows does not have")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


def files_of(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def make_listener() -> tuple[Any, Any]:
    listener = await ipcpipes.listen(unique_endpoint(), backlog=4)
    return listener, lambda: ipcpipes.connect(listener.endpoint)


async def make_limited_listener() -> tuple[Any, Any]:
    listener = await ipcpipes.listen(unique_endpoint(), max_instances=4)
    return listener, lambda: ipcpipes.connect(listener.endpoint)


async def test_conformance() -> None:
    await check_listener(make_listener)
    await check_listener(make_limited_listener)


@linux_only
async def test_conformance_of_abstract_names() -> None:
    async def make() -> tuple[Any, Any]:
        listener = await ipcpipes.listen(Endpoint.abstract(unique_endpoint().name))
        assert listener.address.startswith("@test-")
        return listener, lambda: ipcpipes.connect(listener.endpoint)

    await check_listener(make)


@linux_only
async def test_an_abstract_name_is_taken_once() -> None:
    where = Endpoint.abstract(unique_endpoint().name)
    async with await ipcpipes.listen(where):
        with pytest.raises(ipcpipes.EndpointInUse, match="another listener"):
            await ipcpipes.listen(where)
    with pytest.raises(ConnectionRefusedError):
        await ipcpipes.connect(where)


@linux_only
async def test_abstract_names_are_held_to_the_policy(caplog: pytest.LogCaptureFixture) -> None:
    # They have no mode, so that only the look at accept keeps others out.
    from ipcpipes._os import posix_calls
    from ipcpipes.security.posix import compiled

    admits = compiled(ipcpipes.AccessPolicy.current_user()).admits
    me = os.geteuid()
    assert admits(posix_calls.Credentials(1, me, 0))
    assert admits(posix_calls.Credentials(1, 0, 0))
    assert not admits(posix_calls.Credentials(1, me + 1, 0))
    assert compiled(ipcpipes.AccessPolicy.everyone()).admits(posix_calls.Credentials(1, me + 1, 0))


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root to become another user"
)
async def test_another_user_is_turned_away(caplog: pytest.LogCaptureFixture) -> None:
    where = Endpoint.abstract(unique_endpoint().name)
    program = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + sys.argv[1])\n"
        "print(repr(s.recv(10)))"
    )
    async with await ipcpipes.listen(where) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            result = await trio.run_process(
                [sys.executable, "-c", program, where.name], capture_stdout=True
            )
            assert result.stdout.strip() == b"b''"
            nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "turned away" in record.getMessage()
    assert "65534" in record.getMessage()


# A live name is never taken


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
async def test_listen_twice(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        with pytest.raises(ipcpipes.EndpointInUse, match="in use by") as caught:
            await ipcpipes.listen(endpoint)
        error = caught.value
        assert isinstance(error, OSError)
        assert error.errno == errno.EADDRINUSE
        assert error.holder_pid == (None if WINDOWS else os.getpid())
        assert listener.address in str(error)
        async with await ipcpipes.connect(endpoint), await listener.accept():
            pass
    async with await ipcpipes.listen(endpoint):
        pass


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
async def test_another_process_holds_the_name_until_it_is_killed(endpoint: Endpoint) -> None:
    with python_child(
        """
        listener = await ipcpipes.listen(sys.argv[1])
        say("ready")
        await trio.sleep_forever()
        """,
        endpoint.name,
    ) as child:
        assert child.hear() == "ready"
        with pytest.raises(ipcpipes.EndpointInUse) as caught:
            await ipcpipes.listen(endpoint)
        assert caught.value.holder_pid == (None if WINDOWS else child.pid)
        child.kill()
        async with await ipcpipes.listen(endpoint) as listener:
            async with await ipcpipes.connect(endpoint), await listener.accept():
                pass


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
@pytest.mark.parametrize("left_behind", [False, True])
async def test_processes_that_race_to_listen(endpoint: Endpoint, left_behind: bool) -> None:
    if left_behind and not WINDOWS:
        async with await ipcpipes.listen(endpoint) as listener:
            path = listener.address
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
    program = """
        say("here")
        hear()
        try:
            listener = await ipcpipes.listen(sys.argv[1])
        except ipcpipes.EndpointInUse:
            say("lost")
        else:
            say("won")
            await hear_async()
            await listener.aclose()
        """
    with several_children(program, endpoint.name, 4) as children:
        for child in children:
            assert child.hear() == "here"
        for child in children:
            child.say("go")
        results = [child.hear() for child in children]
        assert sorted(results) == ["lost", "lost", "lost", "won"]
        async with await ipcpipes.connect(endpoint):
            pass
        for child, result in zip(children, results, strict=True):
            if result == "won":
                child.say("done")
            assert child.wait() == 0


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
async def test_tasks_that_race_for_a_name_see_one_winner(endpoint: Endpoint) -> None:
    winners = []

    async def race() -> None:
        try:
            winners.append(await ipcpipes.listen(endpoint))
        except ipcpipes.EndpointInUse:
            pass

    for _ in range(50):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(race)
        (winner,) = winners
        winners.clear()
        await winner.aclose()


# A dead name never blocks, and nothing else is touched


@posix_only
async def test_a_killed_server_leaves_nothing_in_the_way(short_tmp: Path) -> None:
    path = short_tmp / "s"
    for _ in range(3):
        with python_child(
            """
            listener = await ipcpipes.listen(sys.argv[1])
            async with await ipcpipes.connect(sys.argv[1]), await listener.accept():
                say("ready")
                await trio.sleep_forever()
            """,
            str(path),
        ) as child:
            assert child.hear() == "ready"
            child.kill()
    async with await ipcpipes.listen(path) as listener:
        async with await ipcpipes.connect(path), await listener.accept():
            pass
    assert files_of(short_tmp) == set()


@posix_only
@pytest.mark.parametrize("name", ["s", "s.lock"])
@pytest.mark.parametrize("kind", ["file", "empty file", "directory", "link", "fifo"])
async def test_what_is_not_a_socket_is_left_alone(short_tmp: Path, kind: str, name: str) -> None:
    obstacle = short_tmp / name
    target = short_tmp / "target"
    target.write_text("precious")
    if kind == "file":
        obstacle.write_text("precious")
    elif kind == "empty file":
        obstacle.touch()
    elif kind == "directory":
        obstacle.mkdir()
    elif kind == "link":
        obstacle.symlink_to(target)
    else:
        os.mkfifo(obstacle)
    before = obstacle.lstat()
    if (name, kind) == ("s.lock", "empty file"):
        # What a lock file looks like whose maker was killed before it wrote its pid.
        async with await ipcpipes.listen(short_tmp / "s"):
            return
    with pytest.raises(FileExistsError, match="left alone") as caught:
        await ipcpipes.listen(short_tmp / "s")
    assert isinstance(caught.value, ipcpipes.NotAnEndpoint)
    assert str(obstacle) in str(caught.value)
    after = obstacle.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )
    assert target.read_text() == "precious"
    assert files_of(short_tmp) == {name, "target"}


@posix_only
async def test_another_programs_live_socket_is_left_alone(short_tmp: Path) -> None:
    path = short_tmp / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        with pytest.raises(ipcpipes.EndpointInUse, match="another listener"):
            await ipcpipes.listen(path)
        # What looked at it stands in its queue, which is full now: no answer is not dead.
        with pytest.raises(ipcpipes.EndpointBusy):
            await ipcpipes.connect(path)
        with pytest.raises(ipcpipes.EndpointInUse):
            await ipcpipes.listen(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(short_tmp / "d"))
        with pytest.raises(ipcpipes.EndpointInUse):
            await ipcpipes.listen(short_tmp / "d")
    async with await ipcpipes.listen(path):
        pass
    assert files_of(short_tmp) == {"d"}


@posix_only
async def test_close_removes_only_its_own_socket_file(short_tmp: Path) -> None:
    path = short_tmp / "s"
    async with await ipcpipes.listen(path):
        path.unlink()
        path.write_text("someone else's")
    assert path.read_text() == "someone else's"
    path.unlink()
    async with await ipcpipes.listen(path):
        path.unlink()
    assert files_of(short_tmp) == set()


@posix_only
async def test_a_forked_child_does_not_take_the_name_away(endpoint: Endpoint) -> None:
    program = (
        "import os, sys, trio, ipcpipes, gc, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "async def main():\n"
        "    listener = await ipcpipes.listen(sys.argv[1])\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        listener.__del__()\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "    async with listener, await ipcpipes.connect(sys.argv[1]), await listener.accept():\n"
        "        print('alive')\n"
        "trio.run(main)\n"
    )
    result = await trio.run_process(
        [sys.executable, "-c", program, endpoint.name], capture_stdout=True
    )
    assert result.stdout.strip() == b"alive"


@posix_only
async def test_only_the_current_user_by_default(short_tmp: Path) -> None:
    old = os.umask(0)
    try:
        async with await ipcpipes.listen(short_tmp / "mine"):
            assert (short_tmp / "mine").stat().st_mode & 0o777 == 0o600
            assert (short_tmp / "mine.lock").stat().st_mode & 0o777 == 0o600
        os.umask(0o777)
        async with await ipcpipes.listen(
            short_tmp / "all", access=ipcpipes.AccessPolicy.everyone()
        ):
            assert (short_tmp / "all").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(old)


# Bad input, before anything is made


@posix_only
async def test_bad_places(short_tmp: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        await ipcpipes.listen(short_tmp / "missing" / "s")
    with pytest.raises(ValueError, match="108|104"):
        await ipcpipes.listen(short_tmp / ("s" * 108))
    (short_tmp / "file").touch()
    with pytest.raises(FileNotFoundError):
        await ipcpipes.listen(short_tmp / "file" / "s")
    (short_tmp / "open").mkdir()
    (short_tmp / "open").chmod(0o777)
    with pytest.raises(PermissionError, match="everyone can write"):
        await ipcpipes.listen(short_tmp / "open" / "s")
    assert files_of(short_tmp / "open") == set()
    (short_tmp / "open").chmod(0o1777)  # as /tmp: others cannot touch what is ours
    async with await ipcpipes.listen(short_tmp / "open" / "s"):
        pass
    assert files_of(short_tmp) == {"file", "open"}


@posix_only
async def test_the_longest_path_works(short_tmp: Path) -> None:
    limit = 108 if sys.platform == "linux" else 104
    name = "s" * (limit - 2 - len(str(short_tmp)))
    async with await ipcpipes.listen(short_tmp / name) as listener:
        async with await ipcpipes.connect(short_tmp / name), await listener.accept():
            assert len(listener.address) == limit - 1


@pytest.mark.parametrize(
    "options",
    [
        {"access": "everyone"},
        {"max_instances": "1"},
        {"max_instances": True},
        {"max_instances": 1.0},
        {"backlog": "1"},
        {"buffer_size": "1"},
    ],
)
async def test_wrong_types(options: Any, endpoint: Endpoint) -> None:
    with pytest.raises(TypeError, match="must be"):
        await ipcpipes.listen(endpoint, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_instances": 0},
        {"max_instances": -1},
        {"backlog": 0},
        {"backlog": 4097},
        {"buffer_size": 0},
        {"buffer_size": 2**31},
        {"direction": "in"},
    ],
)
async def test_values_out_of_range(options: Any, endpoint: Endpoint) -> None:
    with pytest.raises(ValueError, match="must be"):
        await ipcpipes.listen(endpoint, **options)


# How many at a time


async def test_max_instances(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, max_instances=2) as listener:
        clients = [await ipcpipes.connect(endpoint) for _ in range(2)]
        servers = [await listener.accept() for _ in range(2)]
        assert listener.connection_count == 2
        for _ in range(3):
            with pytest.raises(ipcpipes.EndpointBusy, match="no room") as caught:
                await ipcpipes.connect(endpoint)
            assert isinstance(caught.value, ConnectionRefusedError)

        accepted = []
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                accepted.append(await listener.accept())

            async def wait_for_room() -> None:
                clients.append(await ipcpipes.connect(endpoint, wait=30))

            nursery.start_soon(accept)
            nursery.start_soon(wait_for_room)
            await trio.sleep(0.05)
            assert not accepted
            assert len(clients) == 2
            await servers[0].aclose()
        assert listener.connection_count == 2
        with pytest.raises(ipcpipes.EndpointBusy):
            await ipcpipes.connect(endpoint)
        await clients[2].send_all(b"in")
        assert await receive_exactly(accepted[0], 2) == b"in"
        for stream in (*clients, *servers, *accepted):
            await stream.aclose()
        assert listener.connection_count == 0
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(await ipcpipes.connect(endpoint))
                await stack.enter_async_context(await listener.accept())


async def test_max_instances_counts_clients_that_were_not_accepted_yet(
    endpoint: Endpoint,
) -> None:
    async with await ipcpipes.listen(endpoint, max_instances=2), AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(await ipcpipes.connect(endpoint))
        with pytest.raises(ipcpipes.EndpointBusy):
            await ipcpipes.connect(endpoint)


async def test_max_instances_holds_under_load(endpoint: Endpoint) -> None:
    limit, now, highest, served = 3, 0, 0, 0

    async def handler(stream: Any) -> None:
        nonlocal now, highest, served
        now += 1
        highest = max(highest, now)
        await stream.send_all(await receive_exactly(stream, 1))
        await stream.receive_some()
        now -= 1
        served += 1

    async def client() -> None:
        async with await ipcpipes.connect(endpoint, wait=60) as stream:
            await stream.send_all(b"x")
            assert await receive_exactly(stream, 1) == b"x"

    async with trio.open_nursery() as server:
        listener = await server.start(
            lambda task_status: ipcpipes.serve(
                handler, endpoint, max_instances=limit, task_status=task_status
            )
        )
        async with trio.open_nursery() as clients:
            for _ in range(60):
                clients.start_soon(client)
        while listener.connection_count:
            await trio.sleep(0.001)
        server.cancel_scope.cancel()
    assert served == 60
    assert highest == limit


async def test_a_crowd_at_once_before_a_slow_accepter(endpoint: Endpoint) -> None:
    # No client is given a wait: a place is there for each at once.
    crowd = 200
    async with await ipcpipes.listen(endpoint) as listener, AsyncExitStack() as stack:
        clients: list[Any] = []

        async def client() -> None:
            clients.append(await ipcpipes.connect(endpoint))

        async with trio.open_nursery() as nursery:
            for _ in range(crowd):
                nursery.start_soon(client)
        for number, stream in enumerate(clients):
            stack.push_async_exit(stream)
            await stream.send_all(b"%3d" % number)
        seen = set()
        for number in range(crowd):
            if number % 50 == 0:
                await trio.sleep(0.01)
            server = await stack.enter_async_context(await listener.accept())
            seen.add(await receive_exactly(server, 3))
        assert len(seen) == crowd
        assert listener.connection_count == crowd


async def test_a_crowd_of_processes_before_a_slow_accepter(endpoint: Endpoint) -> None:
    program = """
        say("here")
        hear()
        streams = []
        async with trio.open_nursery() as nursery:
            async def client():
                streams.append(await ipcpipes.connect(sys.argv[1]))
            for _ in range(50):
                nursery.start_soon(client)
        for stream in streams:
            await stream.send_all(b"x")
        say("in")
        await hear_async()
        for stream in streams:
            await stream.aclose()
        """
    async with await ipcpipes.listen(endpoint) as listener, AsyncExitStack() as stack:
        with several_children(program, endpoint.name, 4) as children:
            for child in children:
                assert child.hear() == "here"
            for child in children:
                child.say("go")
            for _ in range(200):
                server = await stack.enter_async_context(await listener.accept())
                await trio.sleep(0.001)
                assert await receive_exactly(server, 1) == b"x"
            for child in children:
                assert child.hear() == "in"
                child.say("done")
                assert child.wait() == 0


async def test_more_than_the_backlog_is_busy(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, backlog=3), AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(await ipcpipes.connect(endpoint))
        with pytest.raises(ipcpipes.EndpointBusy):
            await ipcpipes.connect(endpoint)


# Accept survives


async def test_clients_that_vanish_before_accept_are_passed_over(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        for _ in range(20):
            await (await ipcpipes.connect(endpoint)).aclose()
        async with await ipcpipes.connect(endpoint) as client:
            await client.send_all(b"here")
            async with await listener.accept() as server:
                assert await receive_exactly(server, 4) == b"here"
                assert listener.connection_count == 1


async def test_killed_clients_are_passed_over(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        with python_child(
            """
            streams = [await ipcpipes.connect(sys.argv[1]) for _ in range(5)]
            say("in")
            await trio.sleep_forever()
            """,
            endpoint.name,
        ) as child:
            assert child.hear() == "in"
            child.kill()
        async with await ipcpipes.connect(endpoint) as client:
            await client.send_all(b"here")
            async with await listener.accept() as server:
                assert await receive_exactly(server, 4) == b"here"


@pytest.mark.skipif(WINDOWS, reason="Windows has no limit of handles that a test could reach")
async def test_accept_waits_out_descriptor_exhaustion(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with await ipcpipes.listen(endpoint) as listener:
        client = await ipcpipes.connect(endpoint)
        spare = [os.dup(0)]
        gc.collect()
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
        try:
            while True:
                try:
                    spare.append(os.dup(0))
                except OSError:
                    break
            with pytest.raises(OSError, match="Too many open files"):
                await ipcpipes.connect(endpoint)
            async with trio.open_nursery() as nursery:
                accepted = []

                async def accept() -> None:
                    accepted.append(await listener.accept())

                nursery.start_soon(accept)
                while not caplog.records:
                    await trio.sleep(0.01)
                assert not accepted
                for fd in spare:
                    os.close(fd)
                spare.clear()
            async with client, accepted[0] as server:
                await client.send_all(b"x")
                assert await receive_exactly(server, 1) == b"x"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in spare:
                os.close(fd)
    assert "Too many open files" in caplog.text


@pytest.mark.skipif(WINDOWS, reason="Windows has no limit of handles that a test could reach")
async def test_listen_without_descriptors_leaves_nothing(short_tmp: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in range(3):
        spare = [os.dup(0) for _ in range(room + 1)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
        try:
            full = []
            while True:
                try:
                    full.append(os.dup(0))
                except OSError:
                    break
            for fd in spare[:room]:
                os.close(fd)
            listener = None
            try:
                listener = await ipcpipes.listen(short_tmp / "s")
            except OSError as error:
                assert error.errno == errno.EMFILE
                assert room < 2
            finally:
                for fd in (*full, *spare[room:]):
                    os.close(fd)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if listener is not None:
            await listener.aclose()
        assert files_of(short_tmp) == set()


# Children


async def test_nothing_leaks_into_children(endpoint: Endpoint) -> None:
    """A child that inherits all it can must not keep the name or a connection alive."""
    async with await ipcpipes.listen(endpoint) as listener:
        client = await ipcpipes.connect(endpoint)
        server = await listener.accept()
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        with child:
            assert child.stdout.readline().strip() == b"up"
            await client.aclose()
            with trio.fail_after(SECONDS):
                assert await server.receive_some() == b""
            await server.aclose()
            await listener.aclose()
            with pytest.raises(FileNotFoundError):
                await ipcpipes.connect(endpoint)
            async with await ipcpipes.listen(endpoint):
                pass
            child.stdin.close()


async def test_a_forgotten_listener_warns_and_gives_the_name_up(endpoint: Endpoint) -> None:
    listener = await ipcpipes.listen(endpoint)
    assert listener.address in repr(listener)
    with pytest.warns(ResourceWarning, match="unclosed <ipcpipes Listener"):
        del listener
        gc.collect()
    async with await ipcpipes.listen(endpoint) as listener:
        pass
    assert "closed" in repr(listener)
