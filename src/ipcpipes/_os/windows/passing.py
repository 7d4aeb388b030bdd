"""Windows: how handles get to the process at the other end of a pipe, and from it.

A pipe carries only bytes. DuplicateHandle puts a handle into another process, and then the data
must contain the number that the handle has there. So channels pass handles, with a header before
each message (``handles/headers.py``). Streams do not: nothing in the bytes of a stream says which
of them are numbers of handles. A receiver that does not expect them would take them for data, and
the handles would stay open.

The sender puts its handles into the receiver's process. (In :mod:`multiprocessing` the receiver
fetches them from the sender's process. Then the sender must keep its own handles open, because it
does not learn when they were fetched.) The sender needs the right PROCESS_DUP_HANDLE to the
receiver's process. As a rule it has that right if both run as the same user and the receiver has no
higher integrity level, or if the sender is an administrator.

The receiver must not trust every number that a peer writes, because it uses and closes the handle
with that number. A hostile sender could name handles that the receiver has already, and a
privileged receiver would act on them for the sender (a confused deputy). So the receiver trusts
only a peer that has the right to open this process and to use its handles anyway:

* LocalSystem, and a process whose new objects belong to the administrators' group: an elevated
  process of an administrator;
* a process of this user, at this process' integrity level or above: "the integrity level of a
  process has to be as high as that of the object" it writes to (Mandatory Integrity Control), and a
  process is an object too.

The peer must not be able to forge the facts that decide this. A server asks the client's token,
through the pipe. A client asks for the owner of the pipe, which is the user that made the pipe, or
the administrators' group, and only a member of the group can set the group. If the owner is this
user, the client asks for the integrity level of the process that the system names. A parent asks
its child's process, which it knows. Where the system does not answer (a client that is not elevated
asks about an elevated server's process), the peer is not trusted. Untrusted numbers are not
touched: they may be this process' own handles.

The system names the process that opened an end of a pipe. Since then the end may have been
inherited by another process, or another process may serve the same name. For that process the
numbers mean nothing, or something else; so the header also names the process that the numbers
belong to.
"""

from __future__ import annotations

import errno
import msvcrt
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from ..._ffi import ffi, lib
from ...abc import MOST_DESCRIPTORS, HasFileno
from ...errors import FramingError, NotSupported
from ..common.descriptor_numbers import descriptor_numbers
from ..handles.headers import handle_header
from . import calls, pipe_end

assert sys.platform == "win32" or not TYPE_CHECKING

_LOCAL_SYSTEM = "S-1-5-18"
_LARGEST_HANDLE = 2**31 - 1
_ERROR_INVALID_HANDLE = 6
_ERROR_INVALID_PARAMETER = 87


class Handles:
    """How handles are passed over one pipe; see :class:`ipcpipes._os.handles.headers.Handles`.

    It does not own the pipe. The channel that calls it keeps the pipe open meanwhile.
    """

    def __init__(self, pipe: pipe_end.PipeEnd) -> None:
        # This is not a strong reference: the finalizer closes a pipe as soon as its last user is
        # gone, and a reference cycle would delay that until the next garbage collection.
        self._pipe: pipe_end.PipeEnd = weakref.proxy(pipe)
        self._is_trusted = False

    close = staticmethod(calls.close)

    @contextmanager
    def giving(self, descriptors: Sequence[int | HasFileno]) -> Iterator[bytes]:
        """See :meth:`ipcpipes._os.handles.headers.Handles.giving`."""
        numbers = descriptor_numbers(descriptors, _handle_of, _LARGEST_HANDLE)
        pipe = self._pipe
        handle = pipe._require_open()
        process = pipe._known_process
        if process is None:
            process = calls.peer_process(handle, server_end=pipe._server_end)
        if process == 0:
            raise NotSupported(
                "Windows does not tell which process is at the other end of this pipe, and handles "
                "are put into a process"
            )
        given: Any = ffi.new("ipc_given *")
        pipe.sent_some = False
        try:
            code = lib.ipc_give_handles(
                process, ffi.new("intptr_t[]", numbers), len(numbers), given
            )
            if code != 0:
                _raise_not_given(code, process)
            yield handle_header(process, list(given.numbers[0 : given.count]))
        finally:
            # Once a part is sent, the peer may know the numbers and close the handles itself; then
            # another handle may have one of the numbers.
            if pipe.sent_some:
                lib.ipc_keep_given(given)
            else:
                lib.ipc_take_back(given)

    def take(self, process: int, numbers: Sequence[int]) -> None:
        """See :meth:`ipcpipes._os.handles.headers.Handles.take`."""
        if process != os.getpid():
            raise FramingError(
                f"the peer put handles into process {process}, which opened this end of the pipe; "
                f"this is process {os.getpid()}"
            )
        if not self._is_trusted:
            self._is_trusted = is_trusted_sender(self._pipe)
        if not self._is_trusted:
            raise FramingError(
                "handles came from a process that is not known to run as this user at the same "
                "integrity level or above; their numbers are not trusted"
            )
        if lib.ipc_check_received(ffi.new("uint32_t[]", numbers), len(numbers)) != 0:
            raise FramingError("the peer named a handle that is not open in this process")


def is_trusted_sender(pipe: pipe_end.PipeEnd) -> bool:
    """Returns whether the peer can control this process and its handles anyway."""
    handle = pipe._require_open()
    if pipe._known_process is not None:
        return _has_our_rights(pipe._known_process)
    if not pipe._server_end:
        owner = calls.owner(handle).sid
        if owner != calls.current_user_sid():
            return owner in calls.ADMINISTRATORS
        return _has_our_rights(calls.peer_process(handle, server_end=False))
    code, token, _ = calls.client_token(handle)
    if code != 0:
        return False
    try:
        sid = calls.token_sid(token)
        level = ffi.new("uint32_t *")
        code = lib.ipc_token_integrity(token, level)
    finally:
        calls.close(token)
    if sid == _LOCAL_SYSTEM:
        return True
    return sid == calls.current_user_sid() and code == 0 and level[0] >= _our_level()


def _has_our_rights(process: int) -> bool:
    """Returns whether ``process`` runs as this user, at this process' integrity level or above."""
    if calls.process_identity(process).sid != calls.current_user_sid():
        return False
    level = ffi.new("uint32_t *")
    return lib.ipc_process_integrity(process, level) == 0 and level[0] >= _our_level()


def _our_level() -> int:
    level = ffi.new("uint32_t *")
    code = lib.ipc_process_integrity(0, level)
    if code != 0:
        raise calls.winerror(code)
    return int(level[0])


def _handle_of(file: HasFileno) -> int:
    if hasattr(file, "share"):
        raise TypeError(
            f"{file!r} has no handle that can be duplicated; send the bytes of its share(pid) and "
            "call socket.fromshare at the other end"
        )
    return msvcrt.get_osfhandle(file.fileno())


def _raise_not_given(code: int, process: int) -> NoReturn:
    if code == _ERROR_INVALID_HANDLE:
        raise OSError(errno.EBADF, "one of the handles to send is not open")
    if code == _ERROR_INVALID_PARAMETER:
        raise trio.BrokenResourceError(
            f"process {process}, which opened the other end of this pipe, has ended"
        )
    if code == calls.ERROR_ACCESS_DENIED:
        raise PermissionError(
            errno.EACCES,
            f"this process may not put handles into process {process}, which is at the other end "
            "of this pipe (PROCESS_DUP_HANDLE)",
        )
    raise calls.winerror(code)


class HandlePassingEnd(pipe_end.PipeEnd):
    """An end of a pipe over which channels can pass handles."""

    def handles(self) -> Handles:
        """Returns the object that passes handles to the process at the other end, and takes handles
        from it.
        """
        return Handles(self)


# The methods of streams


def refuse() -> NoReturn:
    """Raises:
    NotSupported: always.
    """
    raise NotSupported(
        "a Windows pipe carries no handles among its bytes; use channels made with "
        "max_descriptors= at both ends, or start the other end as a child that inherits the "
        "handles (open_child)"
    )


async def send_descriptors(
    self: object, data: bytes | bytearray | memoryview, descriptors: Sequence[int | HasFileno]
) -> None:
    refuse()


async def receive_descriptors(
    self: object, max_bytes: int | None = None, max_descriptors: int = MOST_DESCRIPTORS
) -> tuple[bytes, list[int]]:
    refuse()


def send_descriptors_blocking(
    self: object,
    data: bytes | bytearray | memoryview,
    descriptors: Sequence[int | HasFileno],
    *,
    timeout: float | None = None,
) -> None:
    refuse()


def receive_descriptors_blocking(
    self: object,
    max_bytes: int | None = None,
    max_descriptors: int = MOST_DESCRIPTORS,
    *,
    timeout: float | None = None,
) -> tuple[bytes, list[int]]:
    refuse()
