"""The ends of a call's pipes without an event loop; their classes are types of parameters, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..core.call_pipes import PipeEnd
from ..definition.parameters import Chunk, PipeType
from ..definition.streams import Stream
from .streams import InStream, OutStream

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..definition.operations import Flow
    from ..definition.parameters import Elements
    from .call_driver import CallDriver

__all__ = ["InOutPipe", "InPipe", "OutPipe", "end_of"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class InPipe(PipeEnd, PipeType, Generic[T_co], implementation=True):
    """An end to pull from: a manager's end of a pipe towards the server, or a client's end of a
    pipe towards the client. See :class:`ipcpipes.rpc.InPipe`; threads take the place of tasks.

    In an interface, it means the same as :class:`ipcpipes.rpc.InPipe`, and a type checker knows
    that a manager pulls without ``await``: ``numbers: rpc.blocking.InPipe[rpc.int32]``.
    """

    _into = True

    def pull(self, max_elements: int | None = None, *, timeout: float | None = None) -> Chunk[T_co]:
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
        chunk: Chunk[T_co] = self._driver.pull(self._pipe.index, max_elements, timeout)
        return chunk

    def __iter__(self) -> Self:
        """``for chunk in pipe`` pulls to the end."""
        return self

    def __next__(self) -> Chunk[T_co]:
        chunk: Chunk[T_co] = self._driver.pull(self._pipe.index, None)
        if len(chunk):
            return chunk
        raise StopIteration


class OutPipe(PipeEnd, PipeType, Generic[T_contra], implementation=True):
    """An end to push into; see :class:`ipcpipes.rpc.OutPipe`, which means the same in an
    interface.
    """

    _out = True

    def push(self, elements: Elements[T_contra]) -> None:
        """Sends elements. After it has returned, the memory of the elements can be reused.

        It waits while the peer or the connection accepts no more. If a signal handler raises an
        exception in the meantime, some of the elements may have been sent, each of them once.

        Raises:
            trio.BusyResourceError: another thread is pushing into this pipe.
            And what :meth:`ipcpipes.rpc.OutPipe.push` raises.
        """
        self._driver.push(self._pipe.index, elements)

    def push_nowait(self, elements: Elements[T_contra]) -> None:
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


class InOutPipe(InPipe[T], OutPipe[T], implementation=True):
    """An end of a pipe in both directions; see :class:`ipcpipes.rpc.InOutPipe`, which means the
    same in an interface.
    """


def end_of(driver: CallDriver, pipe: Flow, *, serving: bool) -> Any:
    """Makes this side's end of a pipe or a stream. What one end sends, the other one receives."""
    if isinstance(pipe, Stream):
        return (InStream if pipe.into is serving else OutStream)(driver, pipe)
    kind: type[InPipe[Any]] | type[OutPipe[Any]] = InPipe if pipe.into is serving else OutPipe
    return (InOutPipe if pipe.into and pipe.out else kind)(driver, pipe)
