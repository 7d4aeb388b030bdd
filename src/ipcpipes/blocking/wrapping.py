"""A listener without an event loop over another listener."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from ..abc.uncopied import Uncopied
from ..opening import ListenerWrapper
from . import abc

if TYPE_CHECKING:
    from typing_extensions import Self

ConnectionT_co = TypeVar("ConnectionT_co", covariant=True)


class WrappingListener(
    ListenerWrapper, Uncopied, abc.Listener[ConnectionT_co], Generic[ConnectionT_co]
):
    """A subclass says what to make of the connections of the listener below, which it owns."""

    _instead = "to serve one endpoint from several processes, use a WorkerGroup"

    @abstractmethod
    def accept(self, *, timeout: float | None = None) -> ConnectionT_co: ...

    def close(self) -> None:
        self._below.close()

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
