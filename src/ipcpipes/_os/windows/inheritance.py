"""Windows: handles on their way from a parent to its child."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...endpoint import Endpoint
from ...errors import EndpointDenied, EndpointNotFound, NotAnEndpoint, NotSupported
from . import calls
from .opened import Opened

assert sys.platform == "win32" or not TYPE_CHECKING

_BUFFER_SIZE = 65536
_OPPOSITE = {"send": "receive", "receive": "send", "duplex": "duplex", "messages": "messages"}
# What looking into a pipe gives.
_SEEN = {0, calls.ERROR_ACCESS_DENIED, *calls.PEER_GONE}
_TYPE_MESSAGE = 4  # PIPE_TYPE_MESSAGE, as GetNamedPipeInfo has it


# The parent's side

# The option of subprocess.Popen that keeps the console's Ctrl-C away from a child: "CTRL+C
# signals will be disabled for all processes within the new process group" (Process Creation Flags).
APART: dict[str, Any] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}


def open_pair(kind: str) -> tuple[int, int]:
    """Two ends that are connected: one of ``kind`` for us, and the child's. No child inherits
    either of them until it is handed over.
    """
    with Opened() as opened:
        _connect_pair(opened, kind, _BUFFER_SIZE)
        ours, theirs = opened.numbers
        opened.numbers.clear()
        return ours, theirs


def open_pipe(capacity: int | None) -> Opened:
    """(receive end, send end) of an anonymous pipe."""
    opened = Opened()
    _connect_pair(opened, "receive", _BUFFER_SIZE if capacity is None else capacity)
    return opened


def _connect_pair(opened: Opened, kind: str, buffer_size: int) -> None:
    """Adds an end of ``kind``, and the other end.

    Both are overlapped: a synchronous handle makes a read and a write wait for each other, and
    no completion port takes it. A program that knows nothing of it can use the child's all the
    same, one operation at a time: ReadFile and WriteFile without an OVERLAPPED wait by themselves.
    """
    sid = calls.current_user_sid()
    # A name only because there is no other way to an overlapped pipe; that nobody guesses.
    address = rf"\\.\pipe\ipcpipes.{sid}.{os.getpid()}.{secrets.token_hex(16)}"
    result = calls.create_instance(
        opened,
        address,
        first=True,
        kind=kind,
        buffer_size=buffer_size,
        permissions=calls.Permissions(f"O:{sid}D:P(A;;FA;;;{sid})"),
        limit=1,
    )
    if result >= 0:
        result = calls.open_pipe(opened, address, _OPPOSITE[kind])
    if result < 0:
        raise calls.winerror(-result)


close = calls.close


def fingerprint(number: int) -> str:
    """What tells this pipe from one of another process that may have its number one day."""
    return str(calls.peer_process(number, server_end=False) or "")


def child_environment(
    base: Mapping[str, str] | None, added: Mapping[str, str], is_ours: Callable[[str], bool]
) -> dict[Any, Any]:
    """``base`` (``None``: this process' own) without what ``is_ours``, and with what is
    ``added``.
    """
    given = os.environ if base is None else base
    return {**{name: value for name, value in given.items() if not is_ours(name)}, **added}


@contextmanager
def inheriting(numbers: Sequence[int], options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The options of subprocess.Popen with which the child gets ``numbers`` and no others.

    The system asks for both: that they are in the list, and that they are inheritable, which is
    a property of the handle. So only while the child is being started: a process that somebody
    else starts meanwhile gets a copy, if he lets it inherit all there is (``close_fds=False``).
    """
    given = options.get("startupinfo")
    startup = subprocess.STARTUPINFO() if given is None else given.copy()
    attributes = dict(startup.lpAttributeList or {})
    attributes["handle_list"] = [*attributes.get("handle_list", ()), *numbers]
    startup.lpAttributeList = attributes
    complete = {**options, "close_fds": True, "startupinfo": startup}
    if all(complete.get(name) is None for name in ("stdin", "stdout", "stderr")):
        # With a list, the standard handles too are inherited only when they are in it; Popen
        # puts all three there as soon as one of them is given.
        for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
            if _is_open(descriptor):
                complete[name] = descriptor
                break
    for number in numbers:
        os.set_handle_inheritable(number, True)
    try:
        yield complete
    finally:
        for number in numbers:
            os.set_handle_inheritable(number, False)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


# The child's side


def claim(endpoint: Endpoint, kind: str) -> int:
    """The handle that ``endpoint`` stands for, which is ours from now on. One that cannot be of
    ``kind`` is left alone.

    Raises:
        EndpointNotFound: there is no such handle, it was not inherited, or it was taken over
            already.
        NotAnEndpoint: it is no pipe, or not one of that type.
        EndpointDenied: the pipe goes in the other direction.
        NotSupported: it is synchronous, and goes in both directions.
    """
    handle = int(endpoint.name)
    where = f"handle {handle}"
    try:
        inheritable = os.get_handle_inheritable(handle)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError):
            calls.require_system_error(error)
        advice = "this process has no such handle; its parent has to pass it on (handle_list)"
        raise EndpointNotFound(endpoint, where, advice) from None
    # A copy that came by inheritance is inheritable itself; what this program opened is not.
    if not inheritable:
        advice = "this handle was not inherited, or it was taken over before"
        raise EndpointNotFound(endpoint, where, advice)
    # A socket passes for a pipe until it is looked into, which takes the right to read.
    if not calls.is_pipe(handle) or calls.peek(handle) not in _SEEN:
        raise NotAnEndpoint(endpoint, where, "this is not a pipe")
    if kind in ("send", "receive"):
        if not calls.goes(handle, kind):
            advice = f'this pipe goes in the other direction, and cannot be used to "{kind}"'
            raise EndpointDenied(endpoint, where, advice)
    else:
        _check_duplex(endpoint, where, handle, kind)
    os.set_handle_inheritable(handle, False)
    return handle


def address_of(handle: int) -> str:
    """As people write it: the name of an inherited end is nobody's business."""
    return f"handle {handle}"


def _check_duplex(endpoint: Endpoint, where: str, handle: int, kind: str) -> None:
    if not calls.goes(handle, "duplex"):
        wanted = "messages of the system" if kind == "messages" else "both directions"
        way = "receive" if calls.goes(handle, "receive") else "send"
        advice = f'this is a pipe, which cannot carry {wanted}; take it over with direction="{way}"'
        raise NotAnEndpoint(endpoint, where, advice)
    flags, _ = calls.pipe_flags(handle)
    keeps_messages = bool(flags & _TYPE_MESSAGE)
    if keeps_messages != (kind == "messages"):
        raise NotAnEndpoint(
            endpoint,
            where,
            "this pipe keeps messages apart; take it over with framing=NATIVE"
            if keeps_messages
            else "this pipe does not keep messages apart; leave framing=NATIVE out",
        )
    if calls.is_synchronous(handle):
        raise NotSupported(
            f"{endpoint}: on this handle a read and a write wait for each other; its maker has "
            "to open it for overlapped operations (FILE_FLAG_OVERLAPPED)"
        )
