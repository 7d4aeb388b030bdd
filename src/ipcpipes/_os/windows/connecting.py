"""Windows: from an address or a connected instance to the driver's connection."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ...endpoint import Endpoint
from ...errors import EndpointError, connect_error, untrusted_error
from ...options import Impersonation
from ..common.connection_end import Kind
from ..common.connection_slot import ConnectionSlot
from . import calls, inheritance as inherited, pipe_end
from .opened import Opened

assert sys.platform == "win32" or not TYPE_CHECKING


class Connector:
    """Makes the connections of one driver.

    The results are typed as ``Any``; the overloads of the public functions state the type for each
    kind.

    Args:
        streams, packets, pipe, synchronous: the modules of the driver with these names.
    """

    def __init__(self, streams: Any, packets: Any, pipe: Any, synchronous: Any) -> None:
        self._pipes: dict[Kind, type[pipe_end.PipeEnd]] = {
            "duplex": streams.Stream,
            "send": streams.SendStream,
            "receive": streams.ReceiveStream,
            "messages": packets.Packets,
        }
        # By kind, and whether the handle was opened without FILE_FLAG_OVERLAPPED.
        self._pipe_ends: dict[tuple[Kind, bool], type[pipe_end.AnonymousEnd]] = {
            ("send", False): pipe.SendStream,
            ("receive", False): pipe.ReceiveStream,
            ("send", True): synchronous.SendStream,
            ("receive", True): synchronous.ReceiveStream,
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
            buffer_size: not used: the server sets the buffer size of both ends.
            waited: how many seconds earlier attempts took, for the error message.
        """
        if endpoint._is_number:
            return self._take_over(endpoint, kind, trusts)
        address = calls.resolve(endpoint)
        with Opened() as opened:
            handle = calls.open_pipe(opened, address, kind, impersonation)
            if handle < 0:
                raise connect_error("winerror", -handle, endpoint, address, waited=waited)
            if trusts is not None:
                _require_trusted(handle, trusts, endpoint, address)
            return self._pipes[kind](opened, endpoint, address, server_end=False)

    def parent_end(self, opened: Opened, endpoint: Endpoint, kind: Kind, pid: int) -> Any:
        """Makes the connection for the parent's end of a pair. The child ``pid`` has the other end,
        at ``endpoint``. If this raises, the handle stays in ``opened``.
        """
        if kind in ("send", "receive"):
            return self._pipe_ends[kind, False](opened, endpoint)
        # The system would report the process that opened the pipe, which is this process, as the
        # peer.
        address = f"handle {endpoint.name}"
        return self._pipes[kind](opened, endpoint, address, server_end=True, process=pid)

    def adopt(
        self, instance: Opened, endpoint: Endpoint, address: str, kind: Kind, owner: ConnectionSlot
    ) -> Any:
        """Makes the connection from an instance to which a client has connected. If it raises, the
        handle stays in ``instance``.
        """
        return self._pipes[kind](instance, endpoint, address, server_end=True, owner=owner)

    def _take_over(self, endpoint: Endpoint, kind: Kind, trusts: calls.ServerCheck | None) -> Any:
        handle = inherited.examine(endpoint, kind)
        address = inherited.address_of(handle)
        if trusts is not None:
            _require_trusted(handle, trusts, endpoint, address)
        with Opened() as opened:
            inherited.take_over(opened, endpoint)
            if kind in ("send", "receive"):
                is_synchronous = bool(calls.is_synchronous(handle))
                return self._pipe_ends[kind, is_synchronous](opened, endpoint)
            server_end = endpoint.kind == "socket" and inherited.is_server_end(handle)
            return self._pipes[kind](opened, endpoint, address, server_end=server_end)


def _require_trusted(
    handle: int, trusts: calls.ServerCheck, endpoint: Endpoint, address: str
) -> None:
    """Raises:
    UntrustedServer: ``trusts`` does not accept the owner of the pipe.
    """
    try:
        owner = calls.owner(handle)
        if not trusts(owner.sid or ""):
            raise untrusted_error(endpoint, address, owner)
    except EndpointError:
        raise
    except OSError as error:
        calls.require_system_error(error)
        raise connect_error("winerror", error.winerror or -1, endpoint, address) from None
