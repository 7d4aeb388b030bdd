"""Endpoints, and the address of each on each system. Pure: no system call is made here.

What depends on the machine or the user (the runtime directory, the SID of the user, the length of a
socket address) is an argument, so that the mappings of both systems can be computed, documented and
tested on either. The mapping never changes, because programs of different versions and languages
find each other by it.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .activation import activated
from .errors import InvalidEndpoint, NotSupported

__all__ = ["Endpoint", "EndpointLike", "posix_address", "windows_address"]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PIPE_PREFIX = re.compile(r"\\\\[.?]\\pipe\\", re.IGNORECASE)
_ABSOLUTE = re.compile(r"/|\\|[A-Za-z]:[\\/]")
# CreateNamedPipeW, lpName: "The entire pipe name string can be up to 256 characters long."
_PIPE_PATH_LIMIT = 256


def _plain_name_fault(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return ""
    return (
        f"({len(name)} characters) is not a plain name: 1 to 64 of the characters "
        "A-Z a-z 0-9 . _ - (for any other place, give an absolute path)"
    )


def _path_fault(path: str) -> str:
    if "\0" in path:
        return "contains a NUL character, which a path cannot contain; remove it"
    if not _ABSOLUTE.match(path):
        return "is a relative path, which means another place after chdir; give an absolute one"
    return "names a directory; add the name of the socket" if path.endswith("/") else ""


def _dotnet_fault(name: str) -> str:
    if not name or any(c in name for c in "/\\\0"):
        return (
            "is not a .NET pipe name that works on every system: it must not be empty or contain "
            "/, \\ or NUL; Endpoint.path takes any path"
        )
    if name.lower() == "anonymous":
        return "is a name that .NET reserves; use another one"
    return ""


def _abstract_fault(name: str) -> str:
    # Node.js 20 and other programs pad a name with NULs to the size of an address.
    if name.rstrip("\0") and "\0" not in name.rstrip("\0"):
        return ""
    return "is not an abstract name: it must not be empty, and may contain NULs only at its end"


# What .NET's long.TryParse reads, except signs and spaces, which no program writes here.
_NUMBER = re.compile(r"[0-9]{1,19}")


def _number_fault(text: str) -> str:
    if _NUMBER.fullmatch(text):
        return ""
    return "is not the number of a descriptor or handle, in decimal digits"


_FAULTS: dict[str, Callable[[str], str]] = {
    "named": _plain_name_fault,
    "path": _path_fault,
    "dotnet": _dotnet_fault,
    "abstract": _abstract_fault,
    "inherited": _number_fault,
    "socket": _number_fault,
}


@dataclass(frozen=True)
class Endpoint:
    r"""The place where a server listens and a client connects: an immutable value.

    Make one with :meth:`named`, :meth:`path`, :meth:`dotnet`, :meth:`abstract`, :meth:`inherited`
    or :meth:`from_socket`; making one does not touch the system. Functions that take an endpoint
    also take a ``str`` (an absolute path, or else a plain name) and an ``os.PathLike`` (a path).

    | made by | Linux and macOS | Windows |
    | --- | --- | --- |
    | named | ``<runtime directory>/ipcpipes/<name>.sock`` | ``\\.\pipe\ipcpipes.<SID>.<name>`` |
    | path | the path | the pipe path |
    | dotnet | ``CoreFxPipe_<name>`` in ``$TMPDIR``, else in ``/tmp`` | ``\\.\pipe\<name>`` |
    | abstract | Linux: the abstract name; macOS: not supported | not supported |
    | inherited | the descriptor with that number | the handle with that number |
    | from_socket | that socket, or the descriptor with that number | the handle with that number |

    The runtime directory is ``$XDG_RUNTIME_DIR``, else ``/run/user/<uid>``. If neither exists, the
    address is ``/tmp/ipcpipes-<uid>/<name>.sock``. At each use ipcpipes verifies that the directory
    belongs to the user and that other users cannot write in it. Programs of one user find each
    other even if their environments differ: ``connect`` tries all of these directories, and
    ``listen`` refuses a name that a server has in another one of them (docs/endpoints.md).

    Attributes:
        kind: the method that made it: ``"named"``, ``"path"``, ``"dotnet"``, ``"abstract"``,
            ``"inherited"``, or ``"socket"`` for :meth:`from_socket`.
        name: the name, path or number.
    """

    kind: Literal["named", "path", "dotnet", "abstract", "inherited", "socket"]
    name: str
    # What from_socket was given. A number is in a list, and is removed from it when it is taken
    # over.
    _given: socket.socket | list[int] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"the name or path of an endpoint is a str, not {self.name!r}")
        if self.kind not in _FAULTS:
            raise InvalidEndpoint(
                f"{self.kind!r} is not a kind of endpoint; the kinds are {', '.join(_FAULTS)}"
            )
        fault = _FAULTS[self.kind](self.name)
        if fault:
            raise InvalidEndpoint(f"{self.name!r} {fault}")
        if self.kind == "socket":
            object.__setattr__(self, "_given", [int(self.name)])

    @classmethod
    def named(cls, name: str) -> Endpoint:
        """Makes an endpoint with a plain name, the same on every system, in a private place of the
        current user.

        Args:
            name: 1 to 64 of the characters ``A-Z a-z 0-9 . _ -``. Windows ignores the case of
                letters.

        Raises:
            TypeError: ``name`` is not a ``str``.
            InvalidEndpoint: ``name`` is empty, too long, or has another character.
        """
        return cls("named", name)

    @classmethod
    def path(cls, path: str | os.PathLike[str]) -> Endpoint:
        r"""Makes an endpoint with a path of your choice: ``/run/svc.sock``, or on Windows
        ``\\.\pipe\svc``.

        Args:
            path: an absolute path. The system limits its length, including the terminator: 108
                bytes on Linux, 104 on macOS (``unix(7)``, ``sun_path``), 256 characters on
                Windows (CreateNamedPipeW).

        Raises:
            TypeError: ``path`` is neither a ``str`` nor a path of ``str``.
            InvalidEndpoint: ``path`` is relative, ends with ``/``, or contains a NUL.
        """
        return cls("path", os.fspath(path))

    @classmethod
    def dotnet(cls, name: str) -> Endpoint:
        r"""Makes an endpoint with the address that .NET's ``NamedPipeServerStream(name)`` and its
        client use on this system. The connection is in byte mode and in both directions.

        Linux and macOS: .NET takes a rooted name (``/run/x``) as a path, and a backslash as an
        ordinary character. Both mean something else on Windows, so both are refused here. Use
        ``Endpoint.path("/run/x")`` and ``Endpoint.path("/tmp/CoreFxPipe_a\b")``.

        Args:
            name: not empty, without ``/``, ``\`` or NUL, and not ``anonymous`` (which .NET
                reserves).

        Raises:
            TypeError: ``name`` is not a ``str``.
            InvalidEndpoint: ``name`` breaks one of those rules; or, when the endpoint is used,
                ``TMPDIR`` is a relative path, which .NET resolves in the working directory of each
                program.
        """
        return cls("dotnet", name)

    @classmethod
    def abstract(cls, name: str) -> Endpoint:
        r"""Makes an endpoint with a name in the abstract namespace of Linux (``unix(7)``). The name
        has no file, and disappears with its listener.

        It has no permissions either, so ipcpipes enforces the access policy when it accepts. It
        belongs to the network namespace, not to a directory: containers that share the network of
        the host see it.

        Args:
            name: not empty, with NULs only at its end, at most 107 bytes in UTF-8. All bytes
                count: to connect to a server that pads its name to the size of an address, as
                Node.js 20 does, use ``name.ljust(107, "\0")``.

        Raises:
            TypeError: ``name`` is not a ``str``.
            InvalidEndpoint: ``name`` is empty, or contains a NUL before another character.
            NotSupported: when the endpoint is used on a system other than Linux.
        """
        return cls("abstract", name)

    @classmethod
    def inherited(cls, number: int | str) -> Endpoint:
        """Makes an endpoint for the end of a pipe or socket that this process inherited from its
        parent, by its number.

        ``connect(Endpoint.inherited(text))`` takes this end over, once: from then on it belongs to
        the stream, and children of this process do not inherit it by accident. It is for parents
        such as .NET's ``AnonymousPipeServerStream`` or systemd; a child of
        :func:`ipcpipes.open_child` uses :func:`ipcpipes.parent_stream`.

        If ``connect`` cannot take it over, it leaves it untouched and raises:
        :exc:`EndpointNotFound` (it does not exist, was not inherited, or was taken over before),
        :exc:`EndpointDenied` (the pipe goes in the other direction), or :exc:`NotAnEndpoint` (it
        is something else).

        Windows: if the pipe was opened without FILE_FLAG_OVERLAPPED, as CreatePipe does and
        therefore .NET and ``subprocess``, ipcpipes polls it every 1 to 20 ms while it waits. Such a
        pipe in both directions is refused with :exc:`NotSupported`.

        Args:
            number: the descriptor or handle, as an int or in decimal digits
                (``AnonymousPipeServerStream.GetClientHandleAsString``).

        Raises:
            TypeError: ``number`` is neither an ``int`` nor a ``str``.
            InvalidEndpoint: ``number`` is negative, or not a number.
        """
        if isinstance(number, bool) or not isinstance(number, (int, str)):
            raise TypeError(f"a descriptor or handle is an int or a str, not {number!r}")
        return cls("inherited", str(number))

    @classmethod
    def from_socket(cls, sock: socket.socket | int) -> Endpoint:
        """Makes an endpoint for a socket or pipe that this program has opened or received itself::

            ours, theirs = socket.socketpair()
            stream = await ipcpipes.connect(Endpoint.from_socket(ours))

        It works once, in any function that takes an endpoint: those that connect take a connected
        Unix domain socket, or an end of a pipe; those that listen take a socket that listens
        (POSIX). The rules are those of :meth:`inherited`, which is for what the parent process has
        passed on, and which checks that this is the case.

        The socket belongs to you until the function has checked it. If the function refuses it with
        one of the errors below, the socket stays yours and is as it was. If the checks succeed, it
        belongs to the stream, channel or listener, and ``sock`` is detached. It becomes
        close-on-exec; its blocking mode and its send buffer are what ipcpipes needs and
        ``buffer_size=`` says, and its other options stay.

        ``server=`` is compared with the user that the system names for the other end (SO_PEERCRED,
        getpeereid(3); Windows: the owner of the pipe). ``access=`` is checked for each client that
        a listener accepts. A listener never removes the file of the socket, and does not change the
        length of its queue (``backlog=``); further clients than ``max_instances=`` wait in the
        queue.

        What the functions raise, besides what they raise for every endpoint:
        :exc:`EndpointNotFound` (it was taken over before, closed or detached),
        :exc:`EndpointDenied` (the pipe goes in the other direction), :exc:`NotAnEndpoint` (it is
        something else: a datagram or network socket, a socket that is not connected), and
        :exc:`NotSupported` (Windows: nothing can listen, and a handle for both directions must have
        been opened with FILE_FLAG_OVERLAPPED; ``server=``: the system names no user).

        Args:
            sock: a socket; or a descriptor, Windows: the handle of a pipe. A number must have no
                other owner, which would close it too. For a socket of trio, or another object that
                owns a descriptor, give ``sock.detach()``.

        Raises:
            TypeError: ``sock`` is neither a :class:`socket.socket` nor an ``int``.
            InvalidEndpoint: the number is negative, or the socket is closed.
        """
        if isinstance(sock, bool) or not isinstance(sock, (socket.socket, int)):
            raise TypeError(
                f"a socket is a socket.socket or the number of a descriptor or handle, not {sock!r}"
            )
        if isinstance(sock, int):
            return cls("socket", str(sock))
        if sock.fileno() == -1:
            raise InvalidEndpoint("this socket is closed, or was detached")
        endpoint = cls("socket", str(sock.fileno()))
        object.__setattr__(endpoint, "_given", sock)
        return endpoint

    @classmethod
    def activated(cls, name: str | None = None) -> Endpoint | None:
        """Finds a listening socket that systemd has passed to this process (socket activation)::

            endpoint = Endpoint.activated("svc") or Endpoint.path("/run/svc.sock")

        The functions that listen and serve take it over as they do with :meth:`inherited`. The
        variables that systemd has set are those of sd_listen_fds(3) and sd_listen_fds_with_names(3)
        (``LISTEN_PID``, ``LISTEN_FDS``, ``LISTEN_FDNAMES``).

        Args:
            name: ``FileDescriptorName=`` of the socket unit, by default the unit's own name with
                its suffix. ``None`` for the only socket that was passed.

        Returns:
            The endpoint; ``None`` if nothing was passed to this process, also on systems without
            systemd.

        Raises:
            InvalidEndpoint: not exactly one socket has this name, or ``name`` is ``None`` and
                several were passed; a mistake in the units.
        """
        number = activated(name, os.environ, os.getpid())
        return None if number is None else cls.inherited(number)

    @classmethod
    def of(cls, value: EndpointLike) -> Endpoint:
        """Returns the endpoint that ``value`` means. Every function that takes an endpoint does the
        same.

        Args:
            value: an :class:`Endpoint`, which is returned as it is; a ``str``, which is a path if
                it is absolute, and else a plain name; or an ``os.PathLike``.

        Raises:
            TypeError: ``value`` is none of the three.
            InvalidEndpoint: the name or path breaks a rule of :meth:`named` or :meth:`path`.
        """
        if isinstance(value, Endpoint):
            return value
        if type(value) is str and cls is Endpoint:
            return _endpoint_of(value)
        if isinstance(value, str):
            return cls.path(value) if _ABSOLUTE.match(value) else cls.named(value)
        if isinstance(value, os.PathLike):
            return cls.path(value)
        raise TypeError(
            f"an endpoint is an ipcpipes.Endpoint, a str or an os.PathLike, not {value!r}"
        )

    @property
    def address(self) -> str:
        r"""The current real address, for programs in other languages and for ``asyncio``: the path
        of a socket or pipe, or a NUL and an abstract name, as ``socket.connect`` takes it.

        For a plain name on Linux and macOS, it is the path where a server of this user has its
        socket, even if the server has another ``XDG_RUNTIME_DIR`` (docs/endpoints.md). If there is
        no server, it is the path where ``listen`` would make the socket; the directory may not
        exist then.

        Raises:
            InvalidEndpoint: the endpoint cannot work on this system.
            NotSupported: this system has no such endpoints, or the endpoint is that of
                :meth:`inherited` or :meth:`from_socket`, which has no address.
        """
        if self._is_number:
            raise NotSupported(f"{self} has no address, only a number")
        return _resolve(self)

    @property
    def _is_number(self) -> bool:
        """Whether it stands for something that is open already, and has no address."""
        return self.kind in ("inherited", "socket")

    def __str__(self) -> str:
        name = self.name.rstrip("\0")
        padding = len(self.name) - len(name)
        return f"{self.kind} endpoint {name!r}" + (f" and {padding} NULs" if padding else "")


_resolve: Callable[[Endpoint], str]


def resolve_by(resolve: Callable[[Endpoint], str]) -> None:
    """Sets the function that computes :attr:`Endpoint.address`. ``_os`` calls it: this module must
    not import ``_os``, and only ``_os`` knows this machine and user.
    """
    global _resolve
    _resolve = resolve


# To check the text again at each connection would take longer than to connect.
@functools.lru_cache(maxsize=256)
def _endpoint_of(text: str) -> Endpoint:
    return Endpoint.path(text) if _ABSOLUTE.match(text) else Endpoint.named(text)


EndpointLike: TypeAlias = Endpoint | str | os.PathLike[str]
"""What every function that takes an endpoint accepts."""


def posix_address(
    endpoint: Endpoint, *, runtime_directory: str, temporary_directory: str, limit: int
) -> bytes:
    """Returns the socket address of ``endpoint``: a path, or a NUL and an abstract name.

    Args:
        endpoint: of a kind that has an address.
        runtime_directory: the directory of plain names.
        temporary_directory: .NET's ``Path.GetTempPath()``.
        limit: the size of ``sun_path`` in bytes.

    Raises:
        InvalidEndpoint: it does not fit, or is a Windows pipe path.
    """
    if endpoint.kind == "abstract":
        address = b"\0" + _encoded(endpoint, endpoint.name)
        if len(address) > limit:
            raise InvalidEndpoint(
                f"{endpoint} is {len(address) - 1} bytes long; this system allows {limit - 1}"
            )
        return address
    if endpoint.kind == "named":
        path = f"{runtime_directory}/{endpoint.name}.sock"
    elif endpoint.kind == "dotnet":
        path = f"{temporary_directory.rstrip('/')}/CoreFxPipe_{endpoint.name}"
    else:
        path = endpoint.name
        if not path.startswith("/"):
            raise InvalidEndpoint(
                f"{endpoint} is a Windows path; here a path begins with /, "
                "and a plain name works on every system"
            )
    address = _encoded(endpoint, path)
    if len(address) + 1 > limit:
        raise InvalidEndpoint(
            f"{endpoint}: its path {path!r} takes {len(address) + 1} bytes with the terminator; "
            f"a socket address of this system holds {limit}"
        )
    return address


def _encoded(endpoint: Endpoint, text: str) -> bytes:
    try:
        # What os.fsencode does on POSIX; on Windows os.fsencode uses another error handler.
        return text.encode(sys.getfilesystemencoding(), "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidEndpoint(
            f"{endpoint} contains a character that a path cannot contain; remove it"
        ) from None


def windows_address(endpoint: Endpoint, *, sid: str) -> str:
    """Returns the pipe path of ``endpoint``.

    Args:
        endpoint: of a kind that has an address.
        sid: the SID of the current user as text.

    Raises:
        InvalidEndpoint: it does not fit, or is not the path of a local pipe.
        NotSupported: ``endpoint`` is abstract.
    """
    if endpoint.kind == "abstract":
        raise NotSupported(
            f"{endpoint}: only Linux has an abstract namespace; a plain name works on every system"
        )
    if endpoint.kind == "named":
        path = rf"\\.\pipe\ipcpipes.{sid}.{endpoint.name}"
    elif endpoint.kind == "dotnet":
        path = rf"\\.\pipe\{endpoint.name}"
    else:
        path = endpoint.name
        prefix = _PIPE_PREFIX.match(path)
        rest = path[prefix.end() :] if prefix else ""
        if not rest or "\\" in rest:
            raise InvalidEndpoint(
                rf"{endpoint} is not a local pipe; here a path is \\.\pipe\ and a name "
                "without backslashes, and a plain name works on every system"
            )
    if len(path) > _PIPE_PATH_LIMIT:
        raise InvalidEndpoint(
            f"{endpoint}: its path {path!r} takes {len(path)} characters; "
            f"Windows allows {_PIPE_PATH_LIMIT}"
        )
    return path
