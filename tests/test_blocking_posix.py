"""POSIX: descriptors and forks, without an event loop."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("about descriptors", allow_module_level=True)

import resource
import socket

import trio

from ipcpipes import Endpoint, blocking
from ipcpipes._ffi import ffi, lib
from ipcpipes.testing import unique_endpoint

from .threads import Worker, receive_exactly, settle, stream_pair


def test_forked_child_closes_only_its_own_copy() -> None:
    client, server = stream_pair()
    with client, server:
        receiving = Worker(client.receive_some)
        settle()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                client.close()
                server.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert not receiving.is_done
        server.send_all(b"still there")
        assert receiving.result() == b"still there"


def test_no_descriptor_is_used_after_it_was_released() -> None:
    """While streams are closed under threads that use them, other files come and go under the
    numbers that become free. What is written to a stream never gets into one of those.
    """
    stop = threading.Event()
    strangers: list[bytes] = []

    def open_and_close() -> None:
        while not stop.is_set():
            read, write = os.pipe()
            try:
                os.set_blocking(read, False)
                time.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    strangers.append(os.read(read, 100))
            finally:
                os.close(read)
                os.close(write)

    stranger = Worker(open_and_close)
    try:
        with blocking.listen(unique_endpoint()) as listener:
            for _ in range(150):
                client = blocking.connect(listener.endpoint)
                server = listener.accept()
                with client, server:

                    def send(stream: Any) -> None:
                        try:
                            while True:
                                stream.send_all(b"stray")
                        except (trio.ClosedResourceError, trio.BrokenResourceError):
                            pass

                    workers = [Worker(send, stream) for stream in (client, server)]
                    closers = [Worker(stream.close) for stream in (client, server)]
                    for worker in (*workers, *closers):
                        worker.result()
    finally:
        stop.set()
        stranger.result()
    assert not any(strangers)


def test_accept_waits_for_free_descriptors(endpoint: Endpoint, caplog: Any) -> None:
    with blocking.listen(endpoint) as listener, blocking.connect(endpoint) as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = [os.dup(0)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 2, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    spare.append(os.dup(0))
            with pytest.raises(TimeoutError):
                listener.accept(timeout=0.1)
            accepting = Worker(listener.accept)
            settle()
            assert not accepting.is_done
        finally:
            for fd in spare:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with accepting.result() as server:
            client.send_all(b"x")
            assert receive_exactly(server, 1) == b"x"
    assert "waiting for it to end" in caplog.text


def test_c_layer_checks_its_arguments() -> None:
    position = ffi.new("size_t *")
    for wait in (False, True):
        assert lib.ipc_send_rest(-1, b"x", 1, position, wait) == -errno.EBADF
        assert lib.ipc_send_rest(-1, b"", 0, position, wait) == -errno.EBADF
        assert lib.ipc_send_packet(-1, b"x", 1, wait) == -errno.EBADF
        assert lib.ipc_next_packet_size(-1, wait) in (-errno.EBADF, -errno.EOPNOTSUPP)
    position[0] = 2
    assert lib.ipc_send_rest(-1, b"x", 1, position, True) == -errno.EINVAL
    assert position[0] == 2


def test_c_layer_reports_how_much_was_sent() -> None:
    left, right = socket.socketpair()
    with left, right:
        position = ffi.new("size_t *")
        data = bytes(10_000_000)
        assert lib.ipc_send_rest(left.fileno(), data, len(data), position, False) == -errno.EAGAIN
        taken = position[0]
        assert 0 < taken < len(data)
        assert len(right.recv(taken, socket.MSG_WAITALL)) == taken
        assert lib.ipc_send_rest(left.fileno(), data, taken + 5, position, False) == 0
        assert position[0] == 0
        assert right.recv(100) == bytes(5)


def test_a_channel_over_a_stream_that_has_lost_bytes_receives_nothing() -> None:
    here, there = stream_pair()
    here._receive_fault = "a receive was interrupted"
    with blocking.MessageChannel(here) as channel, blocking.MessageChannel(there) as other:
        other.send(b"after the lost bytes")
        with pytest.raises(trio.BrokenResourceError, match="interrupted"):
            channel.receive()


def test_a_channel_receives_nothing_after_an_interrupted_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    here, there = stream_pair()
    number = here._number
    with blocking.MessageChannel(there) as other:
        channel = blocking.MessageChannel(here)
        monkeypatch.setattr(here, "_hide", interrupted)
        with pytest.raises(KeyboardInterrupt):
            channel.close()
        other.send(b"after close")
        with pytest.raises(trio.ClosedResourceError):
            channel.receive()
    os.close(number)
