"""The part of a connection's end that is the same on every system and in every driver."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import trio

from ...abc import PeerIdentity
from ...abc.uncopied import Uncopied
from .connection_slot import ConnectionSlot
from .own_thread import Client

if TYPE_CHECKING:
    from ...endpoint import Endpoint

Kind = Literal["duplex", "send", "receive", "messages"]
"""What a connection carries, and in which direction."""


class ConnectionEnd(Uncopied, ABC):
    """One open descriptor or handle.

    Lifetime: it owns the number from the end of the system's ``__init__`` until the driver closes
    it.

    Attributes:
        _number: the descriptor or handle; -1 before the end of ``__init__``, and after closing, so
            that a number which the system has given to something else is never used.
        _owner: the slot of a connection that a listener has accepted.
        _send_fault: why nothing can be sent any more.
        _receive_fault: why nothing can be received any more.
    """

    _word_for_number: str
    _closed_text = "this stream was closed here"
    _number = -1
    _endpoint: Endpoint
    _owner: ConnectionSlot | None
    _peer: PeerIdentity | None = None
    _send_fault: str | None = None
    _receive_fault: str | None = None

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    @abstractmethod
    def address(self) -> str: ...

    @property
    def send_buffer_size(self) -> int:
        return self._buffer_sizes()[0]

    @property
    def receive_buffer_size(self) -> int:
        return self._buffer_sizes()[1]

    def _require_open(self) -> int:
        if self._number == -1:
            raise self._closed_here()
        return self._number

    def _closed_here(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(self._closed_text)

    def _accepted_client(self) -> Client:
        """Returns the client at the other end, so that a thread can act as this client. The caller
        closes the result.
        """
        self._require_open()
        if self._owner is None:
            raise RuntimeError(
                "run_as_client is for the server's end: no listener has accepted this connection"
            )
        return self._client()

    @property
    def _unclosed_number(self) -> int:
        """The number that this object still has to close; -1 if it has nothing to close."""
        return self._number

    def __repr__(self) -> str:
        number = self._number
        state = "closed" if number == -1 else f"{self._word_for_number} {number}"
        return f"<ipcpipes {type(self).__name__} {self.address!r} {state}>"

    def __del__(self) -> None:
        number = self._unclosed_number
        if number == -1:
            return
        text = f"unclosed {self!r}"
        self._give_up(number)
        # This is the last step, because it raises if warnings are errors.
        warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    # The methods that the system and the driver implement

    @abstractmethod
    def _prepare(self, number: int) -> None:
        """Makes the objects that the driver needs to use this descriptor or handle."""

    @abstractmethod
    def _begin_anew(self) -> None:
        """Resets the state to that of an unused end, for a forked child. The tasks or threads that
        used this end do not exist there, and the objects that they wait for belong to the parent.
        """

    @abstractmethod
    def _buffer_sizes(self) -> tuple[int, int]:
        """Returns (size for sending, size for receiving).

        Raises:
            trio.ClosedResourceError: this end is closed.
            OSError: the system does not report the sizes.
        """

    @abstractmethod
    def _client(self) -> Client: ...

    def _close(self) -> None:
        """Closes, without a checkpoint. Idempotent."""

    @abstractmethod
    def _give_up(self, number: int) -> None:
        """Closes the number, and informs the objects that depend on it. A finalizer may call
        this.
        """

    @abstractmethod
    def _take_number(self, refusal: str | None) -> int:
        """Closes this object, and returns its number, which stays open.

        Raises:
            RuntimeError: ``refusal`` is not ``None``, and this object is still open. The error text
                is ``refusal``.
            trio.ClosedResourceError, trio.BusyResourceError: this object is closed, or in use.
        """
