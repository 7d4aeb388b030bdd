"""One call at one end under trio: what waits for its pipes, and for its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from .call import SMALL, Call, Push
from .chunks import chunk_of, octets_of
from .ndr import LARGEST_COUNT
from .session import Event

if TYPE_CHECKING:
    from .link import Link

__all__ = ["Exchange"]


class Exchange:
    """Waits where :class:`Call` only says that nothing can go on now."""

    def __init__(self, link: Link, call: Call) -> None:
        self.link = link
        self.call = call
        self.scope: trio.CancelScope | None = None  # of what ends with the call
        self._lot = trio.lowlevel.ParkingLot()
        self._busy: set[tuple[str, int]] = set()
        call.owner = self

    def wake(self, event: Event) -> None:
        """Something has come for this call."""
        self._lot.unpark_all()

    def sent(self) -> None:
        """Elements of this call were taken by the system."""

    async def wait(self) -> None:
        """Until something has come."""
        await self._lot.park()

    async def wait_turn(self, index: int, *, into: bool) -> None:
        """Until it is this pipe's turn, or the call has ended."""
        call = self.call
        while call.cursor.turn not in ((into, index), None) and call.failure is None:
            await self._lot.park()

    async def pull(self, index: int, max_elements: int | None) -> Any:
        """What :meth:`ipcpipes.rpc.InPipe.pull` does."""
        octets = await self._alone("pulling from", index, self._pull, index, max_elements)
        return chunk_of(octets, self.call.operation.pipes[index].element)

    async def _pull(self, index: int, max_elements: int | None) -> memoryview:
        limit = LARGEST_COUNT if max_elements is None else max_elements
        call = self.call
        # What has ended the call comes before a cancellation, which it causes in the end.
        if call.failure is None:
            await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            octets = call.pull(index, limit)
            self.link.flush()
            if octets is not None:
                if not octets:
                    self._lot.unpark_all()  # another pipe's turn
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return octets
            await self._lot.park()
            waited = True

    async def push(self, index: int, elements: object) -> None:
        """What :meth:`ipcpipes.rpc.OutPipe.push` does."""
        element = self.call.operation.pipes[index].element
        octets = octets_of(elements, element)
        if octets:
            await self._alone("pushing into", index, self._push, index, octets, element.stride)
        else:
            await self.close(index)

    async def _push(self, index: int, octets: memoryview, stride: int) -> None:
        call = self.call
        push = Push(octets, len(octets) // stride)
        call.check_push(index, push.count)
        await trio.lowlevel.checkpoint_if_cancelled()
        if len(octets) <= SMALL and not self.link.is_full and call.push_small(index, octets):
            self.link.flush()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        while True:
            await self.link.wait_room()
            if not call.push_some(index, push):
                await self._lot.park()
                continue
            self.link.flush()
            if push.done:
                break
        await trio.lowlevel.cancel_shielded_checkpoint()

    def push_nowait(self, index: int, elements: object) -> None:
        """What :meth:`ipcpipes.rpc.OutPipe.push_nowait` does."""
        call = self.call
        element = call.operation.pipes[index].element
        octets = octets_of(elements, element)
        if ("pushing into", index) in self._busy:
            raise trio.BusyResourceError(f"another task is pushing into {self._name(index)}")
        call.check_push(index, len(octets) // element.stride)
        if len(octets) > SMALL:
            raise ValueError(f"push_nowait takes up to {SMALL:,} bytes; push the rest")
        if self.link.is_full or not call.push_small(index, octets):
            raise trio.WouldBlock
        self.link.flush()

    async def close(self, index: int) -> None:
        """What :meth:`ipcpipes.rpc.OutPipe.close` does."""
        await self._alone("pushing into", index, self._close, index)

    async def _close(self, index: int) -> None:
        call = self.call
        call.check_push(index, None)
        await trio.lowlevel.checkpoint_if_cancelled()
        while not call.close_pipe(index):
            await self._lot.park()
            call.check_push(index, None)
        self.link.flush()
        self._lot.unpark_all()
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _alone(
        self, doing: str, index: int, action: Callable[..., Any], *arguments: object
    ) -> Any:
        key = (doing, index)
        if key in self._busy:
            raise trio.BusyResourceError(f"another task is {doing} {self._name(index)}")
        self._busy.add(key)
        try:
            return await action(*arguments)
        finally:
            self._busy.discard(key)

    def _name(self, index: int) -> str:
        return f"the pipe {self.call.operation.pipes[index].name}"
