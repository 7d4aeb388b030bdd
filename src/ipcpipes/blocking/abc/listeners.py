"""The contract of listeners without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...endpoint import Endpoint

ConnectionT_co = TypeVar("ConnectionT_co", covariant=True)


class Listener(Protocol[ConnectionT_co]):
    """Accepts connections; holds the name from :func:`ipcpipes.blocking.listen` to :meth:`close`.

    ``for stream in listener`` accepts until the listener is closed. A forked child (POSIX) may
    accept too, and may close its copy of the listener: the name, the queue and ``max_instances``
    stay with this process.

    The listeners of ipcpipes also have ``fileno()`` (POSIX): the listening socket; or ``handle``
    (Windows): an event that is set when a client connects.
    """

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that is listened on."""

    @property
    def address(self) -> str:
        """The real address of the endpoint; an abstract name is written with ``@`` in front."""

    @property
    def connection_count(self) -> int:
        """How many accepted connections are open now."""

    def accept(self, *, timeout: float | None = None) -> ConnectionT_co:
        """Returns the next client's stream, or channel.

        It skips clients that left before they were accepted, and clients that the access policy
        turns away. When the process has no descriptors left, it logs a warning, and continues as
        soon as there are some again.

        Args:
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Raises:
            TimeoutError: no client has connected in time; none is lost.
            trio.ClosedResourceError: you closed the listener.
            trio.BusyResourceError: another thread of yours is accepting.
            TypeError, ValueError: ``timeout`` is not a number of seconds, or negative.
        """

    def close(self) -> None:
        """Releases the name, and wakes a thread that is accepting. Idempotent.

        Accepted connections stay open; clients that were not accepted see the end of the stream.
        On Windows the name becomes free when the last accepted connection has closed too.
        """

    def __iter__(self) -> Iterator[ConnectionT_co]:
        return self

    def __next__(self) -> ConnectionT_co:
        try:
            return self.accept()
        except trio.ClosedResourceError:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
