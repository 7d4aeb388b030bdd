"""Windows: the functions of the C layer.

Functions on a hot path return the C layer's result: 0, or an error code of ``winerror.h``. The
others raise ``OSError``.
"""

from __future__ import annotations

import _winapi
import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from ..._ffi import ffi, lib
from ...abc import PeerIdentity
from ...endpoint import Endpoint, windows_address
from ...errors import IncompleteMessage, NotSupported
from ..common.system_error import require_system_error as require_system_error
from .opened import Opened

assert sys.platform == "win32" or not TYPE_CHECKING

ERROR_ACCESS_DENIED = 5
ERROR_BROKEN_PIPE = 109
ERROR_PIPE_BUSY = 231
ERROR_NO_DATA = 232
ERROR_PIPE_NOT_CONNECTED = 233
ERROR_MORE_DATA = 234
ERROR_OPERATION_ABORTED = 995
ERROR_BAD_IMPERSONATION_LEVEL = 1346
ERROR_CANT_OPEN_ANONYMOUS = 1347
ERROR_IO_INCOMPLETE = 996
WAIT_TIMEOUT = 258
INFINITE = 2**32 - 1
# The system copies a pending write into kernel memory whole, so large writes are split.
LARGEST_WRITE = 1 << 20
LARGEST_READ = 1 << 30
# ERROR_TOO_MANY_OPEN_FILES, NOT_ENOUGH_MEMORY, OUTOFMEMORY, NO_SYSTEM_RESOURCES,
# WORKING_SET_QUOTA, PAGEFILE_QUOTA, COMMITMENT_LIMIT, NOT_ENOUGH_QUOTA
EXHAUSTED = {4, 8, 14, 1450, 1452, 1453, 1455, 1816}
PEER_GONE = {ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED}

_DIRECTIONS = {"send": 1, "receive": 2, "duplex": 3, "messages": 3}
# SECURITY_IMPERSONATION_LEVEL (winnt.h)
_LEVELS = {"anonymous": 0, "identify": 1, "impersonate": 2, "delegate": 3}
# LocalSystem, and BUILTIN\Administrators, which owns the objects that elevated members make
# (WinNT.h).
ADMINISTRATORS = ("S-1-5-18", "S-1-5-32-544")
_NONE_MAPPED = 1332  # ERROR_NONE_MAPPED
# The longest SID is "S-1-" and fifteen 32-bit numbers; account and domain are 256 at most each.
_TEXT_SIZE = 1024
_PATH_SIZE = 32768  # the longest path there is

transport = "Windows named pipe"

abandon = lib.ipc_abandon
await_operation = lib.ipc_await
begin_connect = lib.ipc_begin_connect
begin_read = lib.ipc_begin_read
begin_write = lib.ipc_begin_write
cancel = lib.ipc_cancel
connect_result = lib.ipc_connect_result
impersonate = lib.ipc_impersonate
is_pipe = lib.ipc_is_pipe
is_synchronous = lib.ipc_is_synchronous
operation_address = lib.ipc_operation_address
peek = lib.ipc_peek
revert = lib.ipc_revert
transfer = lib.ipc_transfer
transferred = lib.ipc_transferred
wait_event = lib.ipc_wait_event
# The memory is not cleared, because the system overwrites the part that is read afterwards.
new_buffer = ffi.new_allocator(should_clear_after_alloc=False)


class Permissions(NamedTuple):
    """A compiled access policy, which each new instance gets.

    Attributes:
        sddl: the security descriptor.
        remote: whether clients on other machines may connect.
        is_owner_ours: whether the policy leaves the owner open, so that ``sddl`` names this user.
    """

    sddl: str
    remote: bool = False
    is_owner_ours: bool = False

    def at(self, endpoint: Endpoint) -> Permissions:
        """Returns these permissions for a pipe at ``endpoint``.

        The system chooses the owner of a .NET server's pipe, so it also chooses the owner here:
        clients with ``PipeOptions.CurrentUserOnly`` compare the owner with the one that their own
        token names (WindowsIdentity.Owner), and refuse any other.
        """
        if endpoint.kind != "dotnet" or not self.is_owner_ours:
            return self
        access = self.sddl.removeprefix(f"O:{current_user_sid()}")
        return self._replace(sddl=f"O:{default_owner_sid()}{access}")


ServerCheck = Callable[[str], bool]
"""Returns whether a client accepts the owner of a pipe, given as a SID, as its server."""


def can_be_read(handle: int) -> bool:
    """Returns whether a read would find something now, perhaps the end."""
    try:
        arrived: int | bytes = _winapi.PeekNamedPipe(handle)[0]
    except OSError as error:
        require_system_error(error)
        return True  # the end, or an error that a read finds too
    return arrived != 0  # a number of bytes, because none were asked for


def new_operation() -> Any:
    return ffi.new("ipc_operation *")


def create_instance(
    opened: Opened,
    address: str,
    *,
    first: bool,
    kind: str,
    buffer_size: int,
    permissions: Permissions,
    limit: int = 255,
) -> int:
    """Opens an instance. Returns its handle, which is in ``opened``, or minus the error code."""
    return opened.open(
        lib.ipc_create_instance,
        _wide(address),
        first,
        _DIRECTIONS[kind],
        limit,
        buffer_size,
        _wide(permissions.sddl),
        permissions.remote,
        kind == "messages",
    )


def open_pipe(opened: Opened, address: str, kind: str, impersonation: str = "identify") -> int:
    """Opens a client end. Returns its handle, which is in ``opened``, or minus the error code."""
    level = _LEVELS[impersonation]
    return opened.open(lib.ipc_open, _wide(address), _DIRECTIONS[kind], kind == "messages", level)


def close(handle: int) -> None:
    _check(lib.ipc_close(handle))


def create_event(opened: Opened) -> int:
    """Opens a manual-reset event. Returns its handle, which is in ``opened``."""
    event = opened.open(lib.ipc_create_event)
    _check(max(-event, 0))
    return event


def set_event(event: int, *, signalled: bool) -> None:
    _check(lib.ipc_set_event(event, signalled))


def buffer_sizes(handle: int) -> tuple[int, int]:
    """Returns (size for sending, size for receiving)."""
    sizes = ffi.new("uint32_t[2]")
    _check(lib.ipc_buffer_sizes(handle, sizes, sizes + 1))
    return int(sizes[0]), int(sizes[1])


def owner(handle: int) -> PeerIdentity:
    """Returns the user or group that owns the pipe."""
    sid, account = _account(lib.ipc_pipe_owner, handle)
    return PeerIdentity(sid=sid, user=account or None)


def client_token(handle: int) -> tuple[int, int, int]:
    """Returns (error code, token of the client, SECURITY_IMPERSONATION_LEVEL that the client
    allows).
    """
    token = ffi.new("intptr_t *")
    level = ffi.new("uint32_t *")
    return lib.ipc_client_token(handle, token, level), int(token[0]), int(level[0])


def token_sid(token: int) -> str:
    """Returns the SID of the token's user."""
    return _account(lib.ipc_token_owner, token)[0]


def peer_process(handle: int, *, server_end: bool) -> int:
    """Returns the peer's process id, or 0 if the system does not tell it."""
    pid = ffi.new("uint32_t *")
    return 0 if lib.ipc_peer_process(handle, server_end, pid) != 0 else int(pid[0])


def peer_identity(handle: int, *, server_end: bool) -> PeerIdentity:
    """Returns the identity of the peer. For a client, the pipe tells the user; for a server, the
    pipe tells the process that opened the server's end.
    """
    pid = peer_process(handle, server_end=server_end)
    if not server_end:
        return process_identity(pid)
    code, token, _ = client_token(handle)
    if code != 0:
        # The client does not allow it, or the system does not know before the client has sent
        # something. The user of the process is not asked instead: if the process has ended, its id
        # may belong to another user's process, and a server would grant that user's rights.
        return PeerIdentity(pid=pid or None)
    try:
        sid, account = _account(lib.ipc_token_owner, token)
    finally:
        close(token)
    return PeerIdentity(pid=pid or None, sid=sid, user=account or None, executable=_image(pid))


def process_identity(pid: int) -> PeerIdentity:
    """Returns the user that a process runs as, if this process may ask for it. Process 0 is
    unknown.
    """
    if pid == 0:
        return PeerIdentity()
    try:
        sid, account = _account(lib.ipc_process_owner, pid)
    except OSError as error:
        require_system_error(error)
        return PeerIdentity(pid=pid)
    return PeerIdentity(pid=pid, sid=sid, user=account or None, executable=_image(pid))


def _image(pid: int) -> str | None:
    path = ffi.new("uint16_t[]", _PATH_SIZE)
    return None if lib.ipc_process_image(pid, path, _PATH_SIZE) != 0 else _narrow(path)


@functools.cache
def current_user_sid() -> str:
    return _account(lib.ipc_process_owner, 0)[0]


@functools.cache
def default_owner_sid() -> str:
    """Returns the owner of objects that this process makes (TOKEN_OWNER): this user, or the
    administrators' group if the process is elevated.
    """
    sid = ffi.new("uint16_t[]", _TEXT_SIZE)
    _check(lib.ipc_default_owner(sid, _TEXT_SIZE))
    return _narrow(sid)


def owners_of_ours(endpoint: Endpoint) -> set[str]:
    """Returns the possible owners of a pipe that this user or an administrator has made at
    ``endpoint``.
    """
    found = {current_user_sid(), *ADMINISTRATORS}
    if endpoint.kind == "dotnet":
        found.add(default_owner_sid())
    return found


def account_sid(account: str) -> tuple[str, int] | None:
    """Returns (SID, SID_NAME_USE) of an account, or ``None`` if there is no such account."""
    sid = ffi.new("uint16_t[]", _TEXT_SIZE)
    use = ffi.new("uint32_t *")
    code = lib.ipc_account_sid(_wide(account), sid, _TEXT_SIZE, use)
    if code == _NONE_MAPPED:
        return None
    _check(code)
    return _narrow(sid), int(use[0])


def belongs_to(group: str) -> bool:
    """Returns whether this process' user belongs to the group with this SID."""
    belongs = ffi.new("int *")
    _check(lib.ipc_belongs_to(_wide(group), belongs))
    return bool(belongs[0])


def is_sddl(text: str) -> bool:
    """Returns whether ``text`` is a security descriptor with an access list."""
    return lib.ipc_check_sddl(_wide(text)) == 0


def allows(handle: int, kind: str) -> bool:
    """Returns whether the handle may be used in the direction or directions of ``kind``."""
    wanted = _DIRECTIONS[kind]
    return lib.ipc_directions(handle) & wanted == wanted


def write_without_waiting(handle: int) -> None:
    """Prepares a synchronous handle for :func:`write_now`."""
    _check(lib.ipc_write_without_waiting(handle))


def read_now(handle: int, memory: Any, size: int) -> tuple[int, int]:
    """Reads what is available from a synchronous handle.

    Returns:
        (error code, number of bytes); the code is WAIT_TIMEOUT if nothing is available.
    """
    count = ffi.new("uint32_t *")
    return lib.ipc_read_now(handle, memory, size, count), int(count[0])


def write_now(handle: int, memory: Any, size: int) -> tuple[int, int]:
    """Writes to a synchronous handle, perhaps only a part.

    Returns:
        (error code, number of bytes); the code is WAIT_TIMEOUT if the pipe has no room.
    """
    count = ffi.new("uint32_t *")
    return lib.ipc_write_now(handle, memory, size, count), int(count[0])


def next_message_size(handle: int) -> tuple[int, int]:
    """Returns (error code, size). The size is that of the next message, or of the rest of a message
    that was read in part.
    """
    rest = ffi.new("uint32_t *")
    return lib.ipc_message_rest(handle, rest), int(rest[0])


def rest_of_message(handle: int, received: int, expected: int | None) -> int:
    """Returns the number of bytes left, 1 or more, of a message that was read in part.

    Raises:
        IncompleteMessage: its sender died, or took back the rest by cancelling the write.
        trio.BrokenResourceError: any other error of the system.
    """
    code, rest = next_message_size(handle)
    if code in PEER_GONE or (code == 0 and rest == 0):
        raise IncompleteMessage(received, expected)
    if code != 0:
        raise trio.BrokenResourceError(str(winerror(code)))
    return rest


def security(handle: int) -> str:
    """Returns the access list of a pipe, as SDDL."""
    text = ffi.new("uint16_t[]", _TEXT_SIZE)
    _check(lib.ipc_security(handle, text, _TEXT_SIZE))
    return _narrow(text)


def pipe_flags(handle: int) -> tuple[int, int]:
    """Returns (flags, largest number of instances) of GetNamedPipeInfo."""
    found = ffi.new("uint32_t[2]")
    _check(lib.ipc_pipe_flags(handle, found, found + 1))
    return int(found[0]), int(found[1])


def resolve(endpoint: Endpoint) -> str:
    """Returns the path of the pipe at ``endpoint``, for this user.

    Raises:
        InvalidEndpoint: this cannot be the path of a pipe.
        NotSupported: ``endpoint`` is an abstract name, or a handle.
    """
    if endpoint._is_number:
        raise NotSupported(
            f"{endpoint}: Windows has no handle that listens; a worker makes its own instances "
            "(ipcpipes.group_worker)"
        )
    return windows_address(endpoint, sid=current_user_sid())


def _account(ask: Callable[..., int], subject: int) -> tuple[str, str]:
    """Returns (SID, name) of the account of a pipe, token or process."""
    sid = ffi.new("uint16_t[]", _TEXT_SIZE)
    account = ffi.new("uint16_t[]", _TEXT_SIZE)
    _check(ask(subject, sid, _TEXT_SIZE, account, _TEXT_SIZE))
    return _narrow(sid), _narrow(account)


def _wide(text: str) -> Any:
    return ffi.from_buffer("uint16_t[]", (text + "\0").encode("utf-16-le", "surrogatepass"))


def _narrow(text: Any) -> str:
    raw = bytes(ffi.buffer(text)).decode("utf-16-le", "replace")
    return raw.partition("\0")[0]


def winerror(code: int) -> OSError:
    """Makes the exception for an error code of Windows; OSError finds the errno for it."""
    _, message = ffi.getwinerror(code) or (code, f"Windows error {code}")
    return OSError(0, message, None, code)


def send_fault(code: int) -> str:
    """Returns the error text for a pipe whose send failed with this code."""
    return "the other end has closed or died" if code in PEER_GONE else str(winerror(code))


def _check(code: int) -> None:
    if code != 0:
        raise winerror(code)
