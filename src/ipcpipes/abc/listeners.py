"""The contract of listeners."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar

import trio

from .uncopied import Uncopied

if TYPE_CHECKING:
    from ..endpoint import Endpoint

ResourceT_co = TypeVar("ResourceT_co", bound=trio.abc.AsyncResource, covariant=True)


class Listener(Uncopied, trio.abc.Listener[ResourceT_co]):
    """Accepts connections; holds the name from :func:`ipcpipes.listen` to :meth:`aclose`.

    ``await accept()`` returns the next client's stream, or channel. Clients that left before they
    were accepted, and clients that the access policy turns away, are passed over; when descriptors
    run out, it logs a warning and goes on as soon as there are some again. A cancelled
    ``accept`` loses no client.

    ``await aclose()`` gives the name up. Connections that were accepted live on; clients that
    were not see the end of the stream. On Windows the name becomes free when the last accepted
    connection has closed too. A forked child (POSIX) may accept beside this process, and may close
    its copy of the listener: the name, the queue and ``max_instances`` stay with this process.

    Raises:
        trio.ClosedResourceError: you closed the listener.
        trio.BusyResourceError: another task of yours is accepting.
    """

    _instead = "to serve one endpoint from several processes, use a WorkerGroup"

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """The endpoint that is listened on."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Its real address; an abstract name is written with ``@`` in front."""

    @property
    @abstractmethod
    def connection_count(self) -> int:
        """How many accepted connections are open now."""
