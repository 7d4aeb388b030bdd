"""The ends of a call's pipes without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..core.call_pipes import PipeEnd

if TYPE_CHECKING:
    from ..definition.operations import Pipe
    from .call_driver import CallDriver

__all__ = ["InOutPipe", "InPipe", "OutPipe", "end_of"]


class InPipe(PipeEnd):
    """An end to pull from: a manager's end of a pipe towards the server, or a client's end of a
    pipe towards the client. See :class:`ipcpipes.rpc.InPipe`; threads take the place of tasks.
    """

    def pull(self, max_elements: int | None = None, *, timeout: float | None = None) -> Any:
        """Waits for elements, and returns those that have arrived. At the end of the pipe, it
        returns an empty chunk once.

        Args:
            max_elements: 1 or more; ``None`` for all that have arrived.
            timeout: seconds, 0 or more; ``None`` waits without limit.

        Raises:
            TimeoutError: nothing has arrived in time; no elements are lost.
            rpc.BadStubData: a signal handler's exception interrupted the pull before this one, and
                elements are lost. (If that pull was only waiting, nothing is lost.)
            trio.BusyResourceError: another thread is pulling from this pipe.
            And what :meth:`ipcpipes.rpc.InPipe.pull` raises.
        """
        return self._driver.pull(self._pipe.index, max_elements, timeout)

    def __iter__(self) -> Iterator[Any]:
        """``for chunk in pipe`` pulls to the end."""
        return self

    def __next__(self) -> Any:
        chunk = self._driver.pull(self._pipe.index, None)
        if len(chunk):
            return chunk
        raise StopIteration


class OutPipe(PipeEnd):
    """An end to push into; see :class:`ipcpipes.rpc.OutPipe`."""

    def push(self, elements: Any) -> None:
        """Sends elements. After it has returned, the memory of the elements can be reused.

        It waits while the peer or the connection accepts no more. If a signal handler raises an
        exception in the meantime, some of the elements may have been sent, each of them once.

        Raises:
            trio.BusyResourceError: another thread is pushing into this pipe.
            And what :meth:`ipcpipes.rpc.OutPipe.push` raises.
        """
        self._driver.push(self._pipe.index, elements)

    def push_nowait(self, elements: Any) -> None:
        """Does the same as :meth:`push` without waiting, for up to 4,096 bytes. Over a stream of
        another library it may wait.

        Raises:
            trio.WouldBlock: the peer or the connection accepts no more; nothing was sent.
            And what :meth:`push` raises.
        """
        self._driver.push_nowait(self._pipe.index, elements)

    def close(self) -> None:
        """Ends the pipe. If a pipe is not closed when the manager returns, the call fails.

        Raises:
            What :meth:`push` raises.
        """
        self._driver.close(self._pipe.index)


class InOutPipe(InPipe, OutPipe):
    """An end of a pipe in both directions."""


def end_of(driver: CallDriver, pipe: Pipe, *, serving: bool) -> Any:
    """Makes this side's end of a pipe. Elements pushed at one end are pulled at the other."""
    if pipe.into and pipe.out:
        return InOutPipe(driver, pipe)
    return (InPipe if pipe.into is serving else OutPipe)(driver, pipe)
