"""Windows: handles for the process at the other end of a pipe, and from it.

A pipe carries bytes only. A handle gets into another process by DuplicateHandle, and its number
has to be told in the bytes. So it is channels that pass handles, with labels between the messages
(``labelled.py``). A stream does not: nothing in its bytes tells a receiver which of them are
numbers of handles, one that does not look takes them for data, and nobody closes what it never
asks for.

The sender puts its handles into the receiver's process. (The other way, as in
:mod:`multiprocessing`, the receiver fetches them out of the sender's; then the sender has to keep
its own open, for it does not learn when they were fetched.) It may if it can open that process with
PROCESS_DUP_HANDLE: as a rule, if both run as the same user and the receiver has no higher integrity
level, or if the sender is an administrator.

The receiver believes a number: it uses the handle, and closes it. A hostile sender would name
handles that the receiver has already, and a privileged receiver would act on them for him (a
confused deputy). So only who could do worse by himself is believed, because he can open this
process and do with its handles as he likes:

* LocalSystem, and who makes things that belong to the administrators' group: one of them, elevated;
* this user, at our integrity level or above: "the integrity level of a process has to be as high
  as that of the object" it writes to (Mandatory Integrity Control), which a process is too.

Who that is must not be forged either. A server asks the client's token, by the pipe. A client asks
the owner of the pipe, which is the maker's user, or the administrators' group, and nobody's who is
not in it; and where it is this user, for the level, the process that the system names. A parent
asks its child's process, which it knows. Where the system does not let us ask (of an elevated
server's process, a client that is not), nobody is believed. What is not believed is not touched: it
may be our own.

The process that the system names for a pipe's end is the one which opened it, and the end may have
gone to another since: inherited, or as one more process that serves the same name. That one would
find numbers that mean nothing in it, or something else; so they come with the process they are for.
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
from ..handles.labels import label
from . import calls

assert sys.platform == "win32" or not TYPE_CHECKING

if TYPE_CHECKING:
    from .blocking import stream as windows_blocking
    from .trio import stream as windows_trio

_LOCAL_SYSTEM = "S-1-5-18"
_LARGEST_HANDLE = 2**31 - 1
_ERROR_INVALID_HANDLE = 6
_ERROR_INVALID_PARAMETER = 87


class Handles:
    """How they go to the process at the other end of one pipe, and come from it.

    It does not own the pipe, whose channel is inside it meanwhile.
    """

    def __init__(self, pipe: windows_trio.Pipe | windows_blocking.Pipe) -> None:
        # A pipe that nobody has any more is closed by its finalizer, and without waiting for the
        # garbage collection of a circle.
        self._pipe: Any = weakref.proxy(pipe)
        self._is_believed = False

    close = staticmethod(calls.close)

    @contextmanager
    def giving(self, descriptors: Sequence[int | HasFileno]) -> Iterator[bytes]:
        """See :meth:`ipcpipes._os.handles.labels.Handles.giving`."""
        numbers = descriptor_numbers(descriptors, _handle_of, _LARGEST_HANDLE)
        pipe = self._pipe
        handle = pipe._require_open()
        process = pipe._known_process
        if process is None:
            process = calls.peer_process(handle, server_end=pipe._server_end)
        if process == 0:
            raise NotSupported(
                "Windows does not say which process is at the other end of this pipe; handles are "
                "put into a process"
            )
        given: Any = ffi.new("ipc_given *")
        pipe.sent_some = False
        try:
            code = lib.ipc_give_handles(
                process, ffi.new("intptr_t[]", numbers), len(numbers), given
            )
            if code != 0:
                _raise_not_given(code, process)
            yield label(process, list(given.numbers[0 : given.count]))
        finally:
            # Once a part went out, the peer may know the numbers, and close them itself: what has
            # one of them by then could be something else.
            if pipe.sent_some:
                lib.ipc_keep_given(given)
            else:
                lib.ipc_take_back(given)

    def take(self, process: int, numbers: Sequence[int]) -> None:
        """See :meth:`ipcpipes._os.handles.labels.Handles.take`."""
        if process != os.getpid():
            raise FramingError(
                f"handles came that were put into process {process}, which opened this end of the "
                f"pipe; this is process {os.getpid()}"
            )
        if not self._is_believed:
            self._is_believed = is_trusted_sender(self._pipe)
        if not self._is_believed:
            raise FramingError(
                "handles came from a process that is not known to run as this user, with an "
                "integrity level as high; their numbers are not believed"
            )
        if lib.ipc_check_received(ffi.new("uint32_t[]", numbers), len(numbers)) != 0:
            raise FramingError("a handle came that is not open in this process")


def is_trusted_sender(pipe: windows_trio.Pipe | windows_blocking.Pipe) -> bool:
    """Whether the peer is one who has power over this process and its handles in any case."""
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
    """Whether it is this user's, and its integrity level is not below ours."""
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
            f"{file!r} is no handle that can be duplicated; send what its share(pid) gives, to "
            "socket.fromshare"
        )
    return msvcrt.get_osfhandle(file.fileno())


def _raise_not_given(code: int, process: int) -> NoReturn:
    if code == _ERROR_INVALID_HANDLE:
        raise OSError(errno.EBADF, "one of these handles is not open")
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


# The methods of streams


def refuse() -> NoReturn:
    """Raises: there is no such thing here."""
    raise NotSupported(
        "a Windows pipe carries no handles among its bytes; take a channel that was made with "
        "max_descriptors= at both ends, or start the other end as a child that inherits them "
        "(open_child)"
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
