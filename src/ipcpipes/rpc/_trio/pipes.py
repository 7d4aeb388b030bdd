"""The ends of a call's pipes, for managers, and for clients that drive the pipes by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..core.call_pipes import PipeEnd
from ..definition.parameters import InOutPipe, InPipe, OutPipe
from ..definition.streams import Stream
from .call_driver import CallDriver
from .streams import ReceiveEnd, SendEnd

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..definition.operations import Flow

__all__ = ["end_of"]


class _PullEnd(PipeEnd, InPipe[Any], implementation=True):
    async def pull(self, max_elements: int | None = None) -> Any:
        if self._driver.others:
            await self._driver.wait_for_others()
        return await self._driver.pull(self._pipe.index, max_elements)

    def __iter__(self) -> NoReturn:
        raise TypeError(
            f"pull from {self._pipe.name} with 'async for', in a method that is 'async def'; "
            "ipcpipes.rpc.blocking serves methods that are not"
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        chunk = await self.pull()
        if len(chunk):
            return chunk
        raise StopAsyncIteration


class _PushEnd(PipeEnd, OutPipe[Any], implementation=True):
    async def push(self, elements: Any) -> None:
        if self._driver.others:
            await self._driver.wait_for_others()
        await self._driver.push(self._pipe.index, elements)

    def push_nowait(self, elements: Any) -> None:
        self._driver.push_nowait(self._pipe.index, elements)

    async def close(self) -> None:
        if self._driver.others:
            await self._driver.wait_for_others()
        await self._driver.close(self._pipe.index)


class _BothEnds(_PullEnd, _PushEnd, InOutPipe[Any], implementation=True):
    pass


def end_of(driver: CallDriver, pipe: Flow, *, serving: bool) -> Any:
    """Makes this side's end of a pipe or a stream. What one end sends, the other one receives."""
    if isinstance(pipe, Stream):
        return (ReceiveEnd if pipe.into is serving else SendEnd)(driver, pipe)
    if pipe.into and pipe.out:
        return _BothEnds(driver, pipe)
    return (_PullEnd if pipe.into is serving else _PushEnd)(driver, pipe)
