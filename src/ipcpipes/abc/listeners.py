"""The abstract class of listeners."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar

import trio

from .uncopied import Uncopied

if TYPE_CHECKING:
    from ..endpoint import Endpoint

ResourceT_co = TypeVar("ResourceT_co", bound=trio.abc.AsyncResource, covariant=True)


class Listener(Uncopied, trio.abc.Listener[ResourceT_co]):
    """Accepts connections; holds the name from :func:`ipcpipes.listen` to ``aclose``.

    ``await accept()`` returns the stream or channel of the next client. It skips clients that left
    before they were accepted and clients that the access policy denies. When this process runs out
    of descriptors, it logs a warning and continues as soon as some are free. A cancelled
    ``accept`` loses no client.

    ``await aclose()`` releases the name. Accepted connections stay open; waiting clients see the
    end of the stream. On Windows the name becomes free when the last accepted connection has
    closed too. A forked child (POSIX) may also accept, and may close its copy of the listener:
    the name, the queue and ``max_instances`` stay with this process.

    The listeners of ipcpipes also have ``fileno()`` (POSIX): the listening socket; or ``handle``
    (Windows): an event that is set when a client connects.

    Raises:
        trio.ClosedResourceError: you closed the listener.
        trio.BusyResourceError: another task of your program is accepting.
    """

    _instead = "to serve one endpoint from several processes, use a WorkerGroup"

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """The endpoint of this listener."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The real address of the endpoint; an abstract name begins with ``@``."""

    @property
    @abstractmethod
    def connection_count(self) -> int:
        """The number of accepted connections that are open now."""
