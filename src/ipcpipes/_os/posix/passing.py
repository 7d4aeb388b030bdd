"""POSIX: descriptors that travel with bytes (SCM_RIGHTS, unix(7)); what both drivers share."""

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
# The peer has gone, it cannot be sent now, or a packet is too large.
_NOT_ABOUT_THEM = {
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


class Outgoing:
    """Descriptors to be sent. They stay their owner's, who must not close them meanwhile: their
    numbers could be given to something else.

    Raises:
        TypeError, ValueError: they are not a sequence of 1 to 253 ints, 0 or more, and objects
            with ``fileno()``.

    Attributes:
        code: what the system said the last time, 0 when all has gone; ``None`` before. It is set
            in one step with the call, so that a signal handler cannot hide it.
    """

    def __init__(self, descriptors: Sequence[int | HasFileno]) -> None:
        self.code: int | None = None
        self._numbers: Any = ffi.new("int[]", descriptor_numbers(descriptors, _number_of, _LARGEST))

    def check_data(self, data: Any) -> None:
        """A stream has to send something for them to go with.

        Raises:
            ValueError: it is empty.
        """
        if not len(data):
            raise ValueError("descriptors travel with data, which must be 1 byte or more")

    def send(self, fd: int, data: Any, position: Any, *, wait: bool = False) -> int:
        """Sends ``data``, and these with its first byte. When that was not all of it, the result
        is ``-EINTR`` and ``position`` says how much it was.

        Returns:
            0, or ``-errno`` where it is not about the descriptors.

        Raises:
            OSError: these descriptors cannot be sent; nothing went out.
        """
        numbers = self._numbers
        (self.code,) = map(
            lib.ipc_send_descriptors,
            *((fd,), (data,), (len(data),), (numbers,), (len(numbers),), (position,), (wait,)),
        )
        code = self.code
        # -1: a stream that another thread has closed just now.
        if not code or code in _NOT_ABOUT_THEM or fd == -1:
            return code
        raise OSError(-code, _REFUSED.get(code, os.strerror(-code)))

    def send_packet(self, fd: int, packet: Buffer, *, wait: bool = False) -> int:
        """The same for a packet, which goes as a whole, and may be empty."""
        with ffi.from_buffer(packet) as data:
            return self.send(fd, data, ffi.new("size_t *"), wait=wait)


class Incoming:
    """Memory for one receive.

    Lifetime: it owns the descriptors that have come, until :meth:`take` or :meth:`close`; they
    get here in the system call itself, so that no exception comes between.

    Args:
        size: how many bytes at most.
        most: how many descriptors at most.

    Raises:
        TypeError, ValueError: ``most`` is no int of 1 to 253.
    """

    def __init__(self, size: int, most: int) -> None:
        check_count("max_descriptors", most, limit=MOST_DESCRIPTORS, optional=False)
        self._size = size
        self._most = most
        self._found: Any = ffi.new("ipc_descriptors *")
        self._count = -errno.EINTR

    @property
    def has_come(self) -> bool:
        """Whether a packet has come, perhaps an empty one, or bytes of a stream or its end; also
        where a signal handler's exception has hidden it.
        """
        return self._count >= 0

    def receive(self, fd: int) -> bytes:
        """The bytes that come next, ``b""`` at the end.

        Raises:
            ipcpipes.DescriptorsLost: more descriptors came with them than may, or this process
                has no room for them; they are closed.
            OSError: what the system says: BlockingIOError, ConnectionResetError.
        """
        data = _new_memory("char[]", self._size)
        while True:
            # In one step with the call, so that a signal handler cannot hide it.
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
        """The descriptors, which are the caller's from now on."""
        numbers: list[int] = list(self._found.numbers[0 : self._found.count])
        # The last step: what a signal handler raises before it finds them where they were.
        self._found.count = 0
        return numbers

    def close(self) -> None:
        """Closes those that were not taken."""
        lib.ipc_close_descriptors(self._found)


def receive_enclosed(
    fd: int, incoming: Incoming, enclosed: AttachedDescriptors
) -> tuple[bytes, list[int]]:
    """The packet that has come, which fits into ``incoming``, and its descriptors.

    Raises:
        What :meth:`Incoming.receive` raises.
    """
    try:
        packet = incoming.receive(fd)
        enclosed.came(incoming.take())
    except BaseException:
        incoming.close()
        raise
    return enclosed.message(packet)


def _number_of(file: HasFileno) -> int:
    return file.fileno()
