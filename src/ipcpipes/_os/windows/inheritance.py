"""Windows: handles from a parent to its child, and open handles that become connections."""

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
from ..common.given import require_given, take_given
from ..common.system_error import require_system_error
from . import calls
from .opened import Opened

assert sys.platform == "win32" or not TYPE_CHECKING

_BUFFER_SIZE = 65536
_OPPOSITE = {"send": "receive", "receive": "send", "duplex": "duplex", "messages": "messages"}
# The results of PeekNamedPipe for a pipe, in any state and with any rights.
_PEEKED = {0, calls.ERROR_ACCESS_DENIED, *calls.PEER_GONE}
_SERVER_END = 1  # PIPE_SERVER_END in the flags of GetNamedPipeInfo
_TYPE_MESSAGE = 4  # PIPE_TYPE_MESSAGE in the flags of GetNamedPipeInfo


# The parent's side

# The option of subprocess.Popen that keeps the console's Ctrl-C away from a child: "CTRL+C
# signals will be disabled for all processes within the new process group" (Process Creation Flags).
APART: dict[str, Any] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}


def open_pair(kind: str) -> Opened:
    """Makes a connected pipe. Returns the parent's end and, after it, the child's end; ``kind`` is
    the kind of the parent's end. No process inherits an end until :func:`inheriting` makes it
    inheritable.
    """
    opened = Opened()
    _connect_pair(opened, kind, _BUFFER_SIZE)
    return opened


def open_pipe(capacity: int | None) -> Opened:
    """Opens an anonymous pipe. Returns (receive end, send end)."""
    opened = Opened()
    _connect_pair(opened, "receive", _BUFFER_SIZE if capacity is None else capacity)
    return opened


def _connect_pair(opened: Opened, kind: str, buffer_size: int) -> None:
    """Adds a server end of ``kind`` and the client end to ``opened``.

    Both are overlapped: a synchronous handle makes a read and a write wait for each other, and no
    completion port takes it. A child that does not expect an overlapped handle can still use its
    end, one operation at a time: ReadFile and WriteFile without an OVERLAPPED wait for the
    completion.
    """
    sid = calls.current_user_sid()
    # CreatePipe makes no overlapped pipes, so this pipe needs a name. It is random, so that no
    # other process can guess it.
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
    """Returns text that distinguishes this pipe from a later pipe of another process with the same
    number.
    """
    return str(calls.peer_process(number, server_end=False) or "")


def child_environment(
    base: Mapping[str, str] | None, added: Mapping[str, str], is_ours: Callable[[str], bool]
) -> dict[Any, Any]:
    """Returns ``base`` (``None``: the environment of this process) without the names for which
    ``is_ours`` is true, and with the variables in ``added``.
    """
    given = os.environ if base is None else base
    return {**{name: value for name, value in given.items() if not is_ours(name)}, **added}


@contextmanager
def inheriting(
    numbers: Sequence[int], options: Mapping[str, Any], program: object
) -> Iterator[dict[str, Any]]:
    """Yields the options of subprocess.Popen with which the child inherits ``numbers`` and no
    others. The block starts ``program``, and an error names it.

    A handle is inherited if it is in the list and is inheritable, which is a property of the
    handle. So the handles are inheritable only while the child is being started. A process that
    another thread starts meanwhile with ``close_fds=False`` inherits them too.
    """
    given = options.get("startupinfo")
    startup = subprocess.STARTUPINFO() if given is None else given.copy()
    attributes = dict(startup.lpAttributeList or {})
    attributes["handle_list"] = [*attributes.get("handle_list", ()), *numbers]
    startup.lpAttributeList = attributes
    complete = {**options, "close_fds": True, "startupinfo": startup}
    if all(complete.get(name) is None for name in ("stdin", "stdout", "stderr")):
        # With a list, the child inherits the standard handles only if they are in the list. Popen
        # adds all three if one of them is given.
        for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
            if _is_open(descriptor):
                complete[name] = descriptor
                break
    try:
        for number in numbers:
            os.set_handle_inheritable(number, True)
        yield complete
    except OSError as error:
        # subprocess does not name the program here.
        if error.filename is None:
            error.filename = program
        raise
    finally:
        for number in numbers:
            os.set_handle_inheritable(number, False)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError as error:
        require_system_error(error)
        return False
    return True


# The child's side


def examine(endpoint: Endpoint, kind: str) -> int:
    """Returns the handle that ``endpoint`` stands for, if it can be of ``kind``. The handle stays
    as it is.

    Raises:
        EndpointNotFound: there is no such handle, it was not inherited, or it was taken over
            already.
        NotAnEndpoint: it is not a pipe, or a pipe of the other type.
        EndpointDenied: the pipe goes in the other direction.
        NotSupported: it is a synchronous handle for both directions.
    """
    handle = int(endpoint.name)
    where = f"handle {handle}"
    is_inherited = endpoint.kind == "inherited"
    if not is_inherited:
        require_given(endpoint, where)
    try:
        inheritable = os.get_handle_inheritable(handle)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError):
            calls.require_system_error(error)
        advice = "this process has no such handle"
        if is_inherited:
            advice += "; its parent has to pass it on (handle_list)"
        raise EndpointNotFound(endpoint, where, advice) from None
    # An inherited handle is inheritable itself; a handle that this program opened is not.
    if is_inherited and not inheritable:
        advice = "this handle was not inherited, or it was taken over before"
        raise EndpointNotFound(endpoint, where, advice)
    # GetFileType calls a socket a pipe; PeekNamedPipe tells the difference, but needs the right to
    # read.
    if not calls.is_pipe(handle) or calls.peek(handle) not in _PEEKED:
        raise NotAnEndpoint(endpoint, where, "this is not a pipe")
    if kind in ("send", "receive"):
        if not calls.allows(handle, kind):
            advice = f'this pipe goes in the other direction, and cannot be used to "{kind}"'
            raise EndpointDenied(endpoint, where, advice)
    else:
        _check_duplex(endpoint, where, handle, kind)
    return handle


def take_over(opened: Opened, endpoint: Endpoint) -> None:
    """Takes over the handle that ``endpoint`` stands for, and keeps it in ``opened``. The caller
    has examined it.

    Raises:
        EndpointNotFound: another thread has taken it over meanwhile.
    """
    handle = int(endpoint.name)
    if endpoint.kind == "inherited":
        opened.numbers.append(handle)
    else:
        take_given(opened, endpoint, f"handle {handle}")
    os.set_handle_inheritable(handle, False)


def is_server_end(handle: int) -> bool:
    """Returns whether this is the end that CreateNamedPipe made."""
    flags, _ = calls.pipe_flags(handle)
    return bool(flags & _SERVER_END)


def address_of(handle: int) -> str:
    """Returns the address to show for an inherited end. The random name of its pipe helps no
    reader.
    """
    return f"handle {handle}"


def _check_duplex(endpoint: Endpoint, where: str, handle: int, kind: str) -> None:
    if not calls.allows(handle, "duplex"):
        wanted = "messages of the system" if kind == "messages" else "both directions"
        way = "receive" if calls.allows(handle, "receive") else "send"
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
            f"{endpoint}: on this handle a read and a write wait for each other; open it for "
            "overlapped operations (FILE_FLAG_OVERLAPPED)"
        )
