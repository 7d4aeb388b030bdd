"""POSIX: from an address or an accepted descriptor to the driver's connection."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...endpoint import Endpoint
from ...errors import (
    EndpointError,
    EndpointNotFound,
    NotAnEndpoint,
    NotSupported,
    connect_error,
    untrusted_error,
)
from ...options import Impersonation
from ..common.connection_end import Kind
from ..common.connection_slot import ConnectionSlot
from . import (
    address as addresses,
    calls,
    impersonation as impersonating,
    inheritance as inherited,
    known,
    socket_end,
)
from .opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING

# With a larger send buffer, the receiver wakes up less often; with the system's default, bulk data
# moves at half the speed. Systems clamp the size (Linux: to twice net.core.wmem_max), and the
# memory is taken only while in use.
DEFAULT_BUFFER_SIZE = 512 * 1024

_NO_SERVER = (-errno.ENOENT, -errno.ECONNREFUSED)
# The errors of connect(2) for a file that is not a socket: on Linux, on Linux without access to the
# file, and on macOS.
_NO_SOCKET = (errno.ECONNREFUSED, errno.EACCES, errno.ENOTSOCK)


class Connector:
    """Makes the connections of one driver.

    The results are typed as ``Any``; the overloads of the public functions state the type for each
    kind.

    Args:
        streams, packets, pipe: the modules of the driver with these names.
    """

    def __init__(self, streams: Any, packets: Any, pipe: Any) -> None:
        self._sockets: dict[Kind, type[socket_end.SocketEnd]] = {
            "duplex": streams.Stream,
            "send": streams.SendStream,
            "receive": streams.ReceiveStream,
            "messages": packets.Packets,
        }
        self._pipe_ends: dict[Kind, type[socket_end.AnonymousEnd]] = {
            "send": pipe.SendStream,
            "receive": pipe.ReceiveStream,
        }

    def connect(
        self,
        endpoint: Endpoint,
        *,
        kind: Kind,
        buffer_size: int | None,
        waited: float,
        trusts: calls.ServerCheck | None = None,
        impersonation: Impersonation = "identify",
    ) -> Any:
        """Makes one attempt, without waiting for a server.

        Args:
            waited: how many seconds earlier attempts took, for the error message.
        """
        check_kind(kind)
        if endpoint._is_number:
            return self._take_over(endpoint, kind, buffer_size, trusts)
        packets = kind == "messages"
        descriptors = OpenDescriptors()
        try:
            address = known.address_of(endpoint)
            if address is not None:
                source = impersonating.source(impersonation)
                fd = calls.connect(descriptors, address, packets=packets, source=source)
                if fd < 0:
                    address = None
            if address is None:
                address = _find(descriptors, endpoint, packets, impersonation, waited)
                known.remember(endpoint, address)
            fd = descriptors.number
            server = None
            try:
                if trusts is not None:
                    server = _trusted_server(fd, trusts, endpoint, address)
                return self.adopt(descriptors, endpoint, address, kind, buffer_size, None, server)
            except EndpointError:
                raise
            except OSError as error:
                calls.require_system_error(error)
                code = error.errno or errno.EIO
                raise connect_error("errno", code, endpoint, calls.readable(address)) from None
        except BaseException:  # not "with", which costs two calls
            descriptors.close()
            raise

    def parent_end(
        self, descriptors: OpenDescriptors, endpoint: Endpoint, kind: Kind, pid: int
    ) -> Any:
        """Makes the connection for the parent's end of a pair. The child ``pid`` has the other end,
        at ``endpoint``. If this raises, the descriptor stays in ``descriptors``.
        """
        if kind in ("send", "receive"):
            return self._pipe_ends[kind](descriptors, endpoint)
        # The credentials of a socketpair(2) are those of the process that made it: this one.
        child = calls.UnknownPeer(pid)
        address = b"descriptor " + endpoint.name.encode()
        return self.adopt(descriptors, endpoint, address, kind, None, None, child)

    def adopt(
        self,
        descriptors: OpenDescriptors,
        endpoint: Endpoint,
        address: bytes,
        kind: Kind,
        buffer_size: int | None,
        owner: ConnectionSlot | None,
        credentials: calls.Peer | None = None,
    ) -> Any:
        """Makes a connection from the last descriptor in ``descriptors``. If this raises, the
        descriptor stays there.
        """
        fd = descriptors.numbers[-1]
        size = DEFAULT_BUFFER_SIZE if buffer_size is None else buffer_size
        code = calls.set_options(fd, size, kind == "messages")
        if code < 0:
            raise OSError(-code, os.strerror(-code))
        if credentials is None:
            credentials = calls.peer_credentials(fd)
        return self._sockets[kind](descriptors, endpoint, address, credentials, owner)

    def _take_over(
        self,
        endpoint: Endpoint,
        kind: Kind,
        buffer_size: int | None,
        trusts: calls.ServerCheck | None,
    ) -> Any:
        fd, is_pipe = inherited.examine(endpoint, kind)
        address = b"descriptor %d" % fd  # it has no name that others know
        if trusts is not None:
            _require_trusted(fd, trusts, endpoint, address)
        with OpenDescriptors() as descriptors:
            inherited.take_over(descriptors, endpoint)
            if is_pipe:
                return self._pipe_ends[kind](descriptors, endpoint)
            maker = inherited.credentials(fd)
            return self.adopt(descriptors, endpoint, address, kind, buffer_size, None, maker)


def _find(
    descriptors: OpenDescriptors,
    endpoint: Endpoint,
    packets: bool,
    impersonation: Impersonation,
    waited: float,
) -> bytes:
    """Opens a connected descriptor and keeps it in ``descriptors``. Returns the address of the
    server.

    Raises:
        EndpointError: there is no server, or it cannot be connected to.
    """
    address = addresses.resolve(endpoint)
    fd = _open(descriptors, endpoint, address, packets, impersonation)
    others = []
    if fd in _NO_SERVER:
        # The server's environment variables may differ, and give another address.
        others = addresses.elsewhere(endpoint, address)
        for other in others:
            found = -errno.ENOENT
            if addresses.is_safe(endpoint, other):
                found = _open(descriptors, endpoint, other, packets, impersonation)
            if found not in _NO_SERVER:
                fd, address, others = found, other, []
                break
    if fd < 0:
        raise _refusal(-fd, endpoint, address, waited, others)
    return address


def _open(
    descriptors: OpenDescriptors,
    endpoint: Endpoint,
    address: bytes,
    packets: bool,
    impersonation: Impersonation,
) -> int:
    """Opens a connected descriptor and keeps it in ``descriptors``. Returns the descriptor, or
    ``-errno``.
    """
    try:
        addresses.check_directory_safety(endpoint, address, create=False)
    except EndpointNotFound:
        # No server has made the directory yet. If another user makes the directory now, an attempt
        # to connect would reach that user's socket.
        return -errno.ENOENT
    source = impersonating.source(impersonation)
    return calls.connect(descriptors, address, packets=packets, source=source)


def _refusal(
    code: int, endpoint: Endpoint, address: bytes, waited: float, others: Sequence[bytes]
) -> EndpointError:
    where = calls.readable(address)
    if code in _NO_SOCKET and address[:1] != b"\0":
        try:
            mode = os.stat(address).st_mode
        except OSError as error:
            calls.require_system_error(error)  # the file cannot be examined, or is gone
        else:
            if not stat.S_ISSOCK(mode):
                what = addresses.kind_of_file(mode)
                advice = f"this is {what}, not a socket; give a server's path"
                return NotAnEndpoint(endpoint, where, advice, code)
    elsewhere = [calls.readable(other) for other in others]
    return connect_error("errno", code, endpoint, where, waited=waited, elsewhere=elsewhere)


def _trusted_server(
    fd: int, trusts: calls.ServerCheck, endpoint: Endpoint, address: bytes
) -> calls.Credentials:
    """Returns the credentials of the process that called listen(2), if ``trusts`` accepts them.

    Raises:
        UntrustedServer: ``trusts`` does not accept them.
    """
    server = calls.peer_credentials(fd)
    if not trusts(server):
        raise untrusted_error(endpoint, calls.readable(address), server.identity(fd))
    return server


def _require_trusted(
    fd: int, trusts: calls.ServerCheck, endpoint: Endpoint, address: bytes
) -> None:
    """Raises:
    UntrustedServer: ``trusts`` does not accept the process at the other end.
    NotSupported: the system does not name this process.
    """
    try:
        _trusted_server(fd, trusts, endpoint, address)
    except EndpointError:
        raise
    except OSError as error:
        calls.require_system_error(error)
        raise NotSupported(
            f"{endpoint}: the system does not name the user at the other end; leave server out"
        ) from None


def check_kind(kind: Kind) -> None:
    if kind == "messages" and sys.platform != "linux":
        raise NotSupported(
            "this system has no sockets that keep messages apart (SOCK_SEQPACKET for AF_UNIX); "
            "LengthPrefixed(), the default framing, works on every system"
        )
