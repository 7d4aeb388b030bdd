"""POSIX: sending and receiving descriptors with bytes (SCM_RIGHTS, unix(7)), for both drivers."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..._ffi import ffi, lib
from ...abc import MOST_DESCRIPTORS, HasFileno
from ...errors import DescriptorsLost
from ...framing import Buffer
from ...options import check_count
from ..common.descriptor_numbers import descriptor_numbers
from ..handles.attached import AttachedDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING

_LARGEST = 2**31 - 1
_new_memory = ffi.new_allocator(should_clear_after_alloc=False)
# Errors that the descriptors do not cause: the peer has closed, no room now, a packet is too large.
_NOT_OF_DESCRIPTORS = {
    -errno.EPIPE,
    -errno.ECONNRESET,
    -errno.ENOTCONN,
    -errno.EAGAIN,
    -errno.EINTR,
    -errno.EMSGSIZE,
}
_REFUSED = {
    -errno.EBADF: "one of these descriptors is not open",
    -errno.ETOOMANYREFS: "too many descriptors of this user are on their way already",
}


class OutgoingDescriptors:
    """Descriptors to be sent. Their owner must not close them meanwhile: the system could give
    their numbers to other files.

    Raises:
        TypeError, ValueError: they are not a sequence of 1 to 253 ints, 0 or more, and objects
            with ``fileno()``.

    Attributes:
        code: the result of the last system call, 0 when all was sent; ``None`` before the first. It
            is set in one step with the call, so that a signal handler's exception cannot hide it.
    """

    def __init__(self, descriptors: Sequence[int | HasFileno]) -> None:
        self.code: int | None = None
        self._numbers: Any = ffi.new("int[]", descriptor_numbers(descriptors, _number_of, _LARGEST))

    def check_data(self, data: Any) -> None:
        """Raises:
        ValueError: ``data`` is empty; a stream has to send descriptors with a byte.
        """
        if not len(data):
            raise ValueError("descriptors travel with data, which must be 1 byte or more")

    def send(self, fd: int, data: Any, position: Any, *, wait: bool = False) -> int:
        """Sends ``data``, and the descriptors with its first byte. If only a part was sent, the
        result is ``-EINTR`` and ``position`` tells how many bytes.

        Returns:
            0, or ``-errno`` if the descriptors are not the cause.

        Raises:
            OSError: these descriptors cannot be sent; nothing was sent.
        """
        numbers = self._numbers
        (self.code,) = map(
            lib.ipc_send_descriptors,
            *((fd,), (data,), (len(data),), (numbers,), (len(numbers),), (position,), (wait,)),
        )
        code = self.code
        # fd is -1 if another thread has just closed the stream.
        if not code or code in _NOT_OF_DESCRIPTORS or fd == -1:
            return code
        raise OSError(-code, _REFUSED.get(code, os.strerror(-code)))

    def send_packet(self, fd: int, packet: Buffer, *, wait: bool = False) -> int:
        """Does the same as :meth:`send` for a packet. A packet may be empty, and is sent whole or
        not at all.
        """
        with ffi.from_buffer(packet) as data:
            return self.send(fd, data, ffi.new("size_t *"), wait=wait)


class IncomingDescriptors:
    """Memory for one receive.

    Lifetime: it owns the received descriptors until :meth:`take` or :meth:`close`. The system call
    itself stores them here, so that no exception can come in between.

    Args:
        size: how many bytes at most.
        most: how many descriptors at most.

    Raises:
        TypeError, ValueError: ``most`` is not an int from 1 to 253.
    """

    def __init__(self, size: int, most: int) -> None:
        check_count("max_descriptors", most, limit=MOST_DESCRIPTORS, optional=False)
        self._size = size
        self._most = most
        self._found: Any = ffi.new("ipc_descriptors *")
        self._count = -errno.EINTR

    @property
    def has_come(self) -> bool:
        """Whether a packet (perhaps an empty one), bytes of a stream, or its end were received;
        also if a signal handler's exception has hidden the result.
        """
        return self._count >= 0

    def receive(self, fd: int) -> bytes:
        """Returns the next bytes, ``b""`` at the end.

        Raises:
            ipcpipes.DescriptorsLost: more descriptors came with them than are allowed, or this
                process has no room for them; they are closed.
            OSError: the system's error, such as BlockingIOError or ConnectionResetError.
        """
        data = _new_memory("char[]", self._size)
        while True:
            # One step makes the call and stores its result, so that a signal handler's exception
            # cannot hide the result.
            (self._count,) = map(
                lib.ipc_receive_descriptors,
                *((fd,), (data,), (self._size,), (self._most,), (self._found,)),
            )
            count = self._count
            if count >= 0:
                break
            if count != -errno.EINTR:
                raise OSError(-count, os.strerror(-count))
        received: bytes = ffi.buffer(data, count)[:]
        if self._found.count == lib.IPC_TOO_MANY_DESCRIPTORS:
            raise DescriptorsLost(
                "the other end sent more descriptors at once than max_descriptors allows, "
                f"{self._most}",
                received,
            )
        if self._found.count == lib.IPC_NO_DESCRIPTORS_LEFT:
            text = "descriptors came, and this process may open no more (RLIMIT_NOFILE)"
            raise DescriptorsLost(text, received, errno.EMFILE)
        return received

    def take(self) -> list[int]:
        """Returns the descriptors, which the caller owns from now on."""
        numbers: list[int] = list(self._found.numbers[0 : self._found.count])
        # This is the last step. Before it, a signal handler's exception leaves the descriptors
        # here, and they are closed.
        self._found.count = 0
        return numbers

    def close(self) -> None:
        """Closes the descriptors that were not taken."""
        lib.ipc_close_descriptors(self._found)


def receive_attached(
    fd: int, incoming: IncomingDescriptors, attached: AttachedDescriptors
) -> tuple[bytes, list[int]]:
    """Receives the next packet and its descriptors. The packet fits into ``incoming``.

    Raises:
        What :meth:`IncomingDescriptors.receive` raises.
    """
    try:
        packet = incoming.receive(fd)
        attached.came(incoming.take())
    except BaseException:
        incoming.close()
        raise
    return attached.message(packet)


def _number_of(file: HasFileno) -> int:
    return file.fileno()
