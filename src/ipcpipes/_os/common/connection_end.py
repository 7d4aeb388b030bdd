"""The part of a connection's end that is the same on every system and in every driver."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
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
        _taken: the number on its way out of this object; see :meth:`_take_number`.
        _send_fault: why nothing can be sent any more.
        _receive_fault: why nothing can be received any more.
    """

    _word_for_number: str
    _closed_text = "this stream was closed here"
    _number = -1
    _taken = -1
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

    def detach(self) -> int:
        """Gives this end up, and returns its number: a descriptor, on Windows a handle. Afterwards
        this end is closed here, and the number belongs to you: the connection is still open, and
        :meth:`ipcpipes.Endpoint.from_socket` makes a stream or channel of it again, in this process
        or in another one that has got it (``send_descriptors``, ``pass_fds``).

        Nothing is lost. This end is refused, and stays as it was, if it has data that only this
        process knows of.

        The next owner gets a connection as it is for the system: ``peer`` is the same there
        (POSIX), and after ``send_eof`` nothing more can be sent. What only this process knows is
        not passed on: ``endpoint``, and whose client it is, so ``run_as_client`` does not work
        there. A listener that has accepted this connection does not count it any more
        (``connection_count``, ``max_instances``).

        POSIX: the descriptor is in blocking mode and close-on-exec. Windows: the handle is
        overlapped and not inheritable.

        Returns:
            The number. Close it, or pass it on.

        Raises:
            RuntimeError: bytes of an interrupted receive are in this stream; receive them first.
            trio.BrokenResourceError: this end cannot send or receive any more, so another process
                could not continue.
            trio.BusyResourceError: a task or thread is using this end.
            trio.ClosedResourceError: this end is closed.
            ipcpipes.NotSupported: Windows, under trio: a pipe's end belongs to one completion port
                in its whole life, and trio has bound it to its own. Use ``ipcpipes.blocking`` for
                connections that go to another process.
        """
        return self._detach(lambda: None)

    def _detach(self, check: Callable[[], object]) -> int:
        """Does what :meth:`detach` does.

        Args:
            check: raises if another object has data that would be lost. It is called while nothing
                uses this end.
        """

        def check_both() -> None:
            self._require_whole()
            check()

        self._take_number(check_both)
        self._closed_text = "this end was detached"
        self._release(self._taken)
        # This is one step, and from here to the caller no signal handler runs.
        number, self._taken = self._taken, -1
        return number

    def _require_whole(self) -> None:
        """Raises unless another owner of the number could continue from here. Systems and drivers
        add checks.
        """
        fault = self._send_fault or self._receive_fault
        if fault is not None:
            raise trio.BrokenResourceError(fault)

    def _release(self, number: int) -> None:
        """Prepares the number for another owner."""
        if self._owner is not None:
            self._owner.released()

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
        return max(self._number, self._taken)

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
    def _take_number(self, check: Callable[[], object]) -> None:
        """Closes this object, and puts its number, which stays open, into ``_taken``. The caller
        takes it out of there in one step.

        Args:
            check: called while nothing uses this object. If it raises, this object stays open.

        Raises:
            trio.ClosedResourceError, trio.BusyResourceError: this object is closed, or in use.
        """
