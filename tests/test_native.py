"""The C layer alone: warnings, sizes, and codes instead of exceptions."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

NATIVE = Path(__file__).resolve().parent.parent / "_native"

if sys.platform == "win32":
    pytest.skip("about the POSIX side, and about compilers of Linux", allow_module_level=True)

from ipcpipes._ffi import ffi, lib
from ipcpipes.abc import MOST_DESCRIPTORS


def compile_alone(compiler: str, source: str, *options: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    if not (NATIVE / source).exists():
        pytest.skip("the sources of the C layer are not beside the tests")
    # A single C file is full of static functions without a caller.
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-Wno-unused-function"]
    result = subprocess.run(
        [compiler, "-std=c99", "-fsyntax-only", *warnings, *options, str(NATIVE / source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


# A part and the parts that it uses, as _native/build.py puts them together.
POSIX_PARTS = {
    "posix.c": (),
    "posix_identity.c": ("posix.c",),
    "posix_connections.c": ("posix.c", "posix_identity.c"),
    "posix_watching.c": ("posix.c",),
    "posix_descriptors.c": ("posix.c",),
    "posix_directories.c": ("posix.c",),
    "posix_spawning.c": ("posix.c", "posix_identity.c"),
    "posix_messages.c": ("posix.c", "framing.c"),
}


@pytest.mark.parametrize("part", POSIX_PARTS)
def test_posix_side_compiles_without_a_warning(part: str) -> None:
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC").split()[0]
    used = [option for one in POSIX_PARTS[part] for option in ("-include", str(NATIVE / one))]
    compile_alone(compiler, part, *used)


@pytest.mark.parametrize("part", ["windows.c", "windows_identity.c", "windows_descriptors.c"])
def test_windows_side_compiles_without_a_warning(part: str) -> None:
    compile_alone("x86_64-w64-mingw32-gcc", part, "-std=gnu99")


@pytest.mark.parametrize("part", ["framing.c", "collisions.c"])
def test_common_part_compiles_without_a_warning_on_both(part: str) -> None:
    compile_alone(os.environ.get("CC") or sysconfig.get_config_var("CC").split()[0], part)
    compile_alone("x86_64-w64-mingw32-gcc", part)


def test_too_long_addresses_are_not_copied() -> None:
    limit = lib.ipc_address_limit()
    assert limit in (104, 108)

    def connect(address: bytes, length: int) -> int:
        return lib.ipc_connect(address, length, b"", 0, False)

    def listen(address: bytes, length: int) -> int:
        return lib.ipc_listen(address, length, 0o600, -1, 1, False, ffi.new("ipc_file *"))

    for function in (connect, listen, lib.ipc_is_bound):
        assert function(b"/" + b"x" * limit, limit + 1) == -errno.ENAMETOOLONG
        assert function(b"/" + b"x" * limit, limit) == -errno.ENAMETOOLONG
        assert function(b"", 0) == -errno.EINVAL
        assert function(b"/" + b"x" * 10**6, 10**6) == -errno.ENAMETOOLONG


def test_offsets_beyond_the_data_are_refused() -> None:
    read, write = os.pipe()
    assert lib.ipc_send(write, b"abc", 4, 3) == -errno.EINVAL
    assert lib.ipc_send(write, b"abc", 2**63, 2**63) == -errno.EINVAL
    assert lib.ipc_send_two(write, b"ab", 2, b"c", 1, 4) == -errno.EINVAL
    assert lib.ipc_send_two(write, b"ab", 2**63, b"c", 1, 0) == -errno.EINVAL
    assert lib.ipc_send_two(write, b"ab", 2, b"c", 2**64 - 1, 0) == -errno.EINVAL
    os.close(read)
    os.close(write)


def test_two_pieces_are_sent_as_one_from_any_offset() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        head, data = bytes(range(40)), bytes(range(256)) * 4096
        for start in (0, 1, 39, 40, 41, 1000):
            sent, received = start, b""
            while sent < len(head) + len(data):
                code = lib.ipc_send_two(left.fileno(), head, len(head), data, len(data), sent)
                if code == -errno.EAGAIN:
                    received += right.recv(70_001)
                else:
                    assert code > 0
                    sent += code
            while len(received) < sent - start:
                received += right.recv(2**20)
            assert received == (head + data)[start:]


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_message_is_sent_behind_its_length(width: int, order: Any, wait: bool) -> None:
    largest = min(2 ** (8 * width) - 1, 70_000)
    for length in (0, 1, largest):
        message = (b"0123456789" * 7001)[:length]
        whole = length.to_bytes(width, order) + message
        for start in {0, 1, width - 1, width, width + 1, len(whole) - 1, len(whole)}:
            if not 0 <= start <= len(whole):
                continue
            left, right = socket.socketpair()
            with left, right:
                position = ffi.new("size_t *", start)
                code = -errno.EAGAIN
                received = b""
                while code == -errno.EAGAIN:
                    code = lib.ipc_send_message(
                        left.fileno(), message, length, width, order == "big", position, wait
                    )
                    while len(received) < (position[0] or len(whole)) - start:
                        received += right.recv(2**20)
                assert (code, position[0]) == (0, 0)
                assert received == whole[start:]


def test_a_message_without_room_is_sent_in_parts() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        message = b"0123456789" * 100_000
        position = ffi.new("size_t *")
        received = b""
        rounds = 0
        while lib.ipc_send_message(left.fileno(), message, len(message), 4, False, position, False):
            assert position[0] > 0
            received += right.recv(2**20)
            rounds += 1
        right.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                received += right.recv(2**20)
        assert rounds > 1
        assert received == len(message).to_bytes(4, "little") + message


def test_bad_messages_return_codes() -> None:
    position = ffi.new("size_t *")
    send = lib.ipc_send_message
    assert send(-1, b"x", 1, 4, False, position, True) == -errno.EBADF
    for width in (-1, 0, 3, 9):
        assert send(-1, b"x", 1, width, False, position, True) == -errno.EINVAL
    assert send(-1, bytes(256), 256, 1, False, position, True) == -errno.EMSGSIZE
    position[0] = 6
    assert send(-1, b"x", 1, 4, False, position, True) == -errno.EINVAL
    assert position[0] == 6


@pytest.mark.parametrize("fd", [-1, 10**6])
def test_bad_descriptors_return_codes(fd: int) -> None:
    assert lib.ipc_accept(fd) == -errno.EBADF
    assert lib.ipc_send(fd, b"x", 0, 1) == -errno.EBADF
    assert lib.ipc_send(fd, b"", 0, 0) == 0
    for offset in range(3):
        assert lib.ipc_send_two(fd, b"ab", 2, b"c", 1, offset) == -errno.EBADF
    assert lib.ipc_send_two(fd, b"ab", 2, b"c", 1, 3) == 0
    assert lib.ipc_close_half(fd, True) == -errno.EBADF
    assert lib.ipc_set_queue_length(fd, 1) == -errno.EBADF
    assert lib.ipc_buffer_size(fd, True) == -errno.EBADF
    assert lib.ipc_has_expired(fd) == -errno.EBADF
    assert lib.ipc_open_watch(fd, 1, ffi.new("int[2]")) in (-errno.EBADF, -errno.ENOSYS)
    assert lib.ipc_open_watch(fd, 0, ffi.new("int[2]")) in (-errno.EINVAL, -errno.ENOSYS)
    assert lib.ipc_set_options(fd, 1, False) == 0, "both options are hints"
    assert lib.ipc_set_options(fd, 1, True) == -errno.EBADF
    assert lib.ipc_ask_peer(fd, ffi.new("ipc_peer *")) == -errno.EBADF
    assert lib.ipc_ask_client(fd, ffi.new("ipc_peer *")) == -errno.EBADF
    assert lib.ipc_peer_left(fd) == (
        0 if fd == -1 else -errno.EBADF
    )  # poll(2) ignores a negative one


def test_descriptors_are_sent_and_received_by_code() -> None:
    left, right = socket.socketpair()
    found: Any = ffi.new("ipc_descriptors *")
    position = ffi.new("size_t *")
    memory = ffi.new("char[]", 10)
    most = lib.IPC_MOST_DESCRIPTORS
    assert most == MOST_DESCRIPTORS

    def send(count: int) -> int:
        numbers = ffi.new("int[]", [left.fileno()] * count)
        return lib.ipc_send_descriptors(left.fileno(), b"x", 1, numbers, count, position, False)

    def receive(most: int) -> int:
        return lib.ipc_receive_descriptors(right.fileno(), memory, 10, most, found)

    with left, right:
        right.setblocking(False)
        for count in (-1, 0, most + 1):
            assert send(count) == -errno.EINVAL
            assert receive(count) == -errno.EINVAL
        assert receive(1) == -errno.EAGAIN
        assert send(3) == 0
        assert receive(3) == 1
        assert found.count == 3
        numbers = list(found.numbers[0:3])
        lib.ipc_close_descriptors(found)
        assert found.count == 0
        for number in numbers:
            with pytest.raises(OSError, match="Bad file"):
                os.fstat(number)
        for sent, most in ((2, 1), (253, 1), (253, 252)):
            assert send(sent) == 0
            assert receive(most) == 1
            assert found.count == lib.IPC_TOO_MANY_DESCRIPTORS
    for fd in (-1, 10**6):
        numbers_of = ffi.new("int[]", [0])
        assert lib.ipc_send_descriptors(fd, b"x", 1, numbers_of, 1, position, False) == -errno.EBADF
        assert lib.ipc_receive_descriptors(fd, memory, 10, 1, found) == -errno.EBADF


def test_file_that_is_not_a_socket_returns_codes() -> None:
    read, write = os.pipe()
    assert lib.ipc_accept(read) == -errno.ENOTSOCK
    assert lib.ipc_ask_peer(read, ffi.new("ipc_peer *")) == -errno.ENOTSOCK
    assert lib.ipc_ask_client(read, ffi.new("ipc_peer *")) == -errno.ENOTSOCK
    os.close(read)
    os.close(write)
