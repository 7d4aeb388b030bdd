"""One call at one end under trio: the tasks that wait for its pipes and its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from ..core.call import Call
from ..core.call_pipes import SMALL, Push
from ..core.events import CallEvent
from ..wire.chunks import bytes_of, chunk_of
from ..wire.ndr import LARGEST_COUNT

if TYPE_CHECKING:
    from ..definition.elements import Element
    from .link import Link

__all__ = ["CallDriver"]

# KeyboardInterrupt is raised where an operation waits, and not between its steps.
_ki_protected = trio.lowlevel.enable_ki_protection
# Looked up once: it is called for every push and pull.
_checkpoint_if_cancelled = trio.lowlevel.checkpoint_if_cancelled
_cancel_shielded_checkpoint = trio.lowlevel.cancel_shielded_checkpoint


@trio.lowlevel.disable_ki_protection
def _bytes_of(elements: object, element: Element) -> memoryview:
    """Runs a user's iterable, which KeyboardInterrupt may interrupt."""
    return bytes_of(elements, element)


class CallDriver:
    """Waits where :class:`Call` only says that an operation cannot continue now.

    Attributes:
        others: the turns of the pipes that another task fills and empties. An operation on a pipe
            that its user drives by hand waits for them.
    """

    others: frozenset[tuple[bool, int]] = frozenset()
    # The scope around the work that has to end when the call fails.
    scope: trio.CancelScope | None = None
    # Set when they are needed; a short call needs neither.
    _tasks: list[trio.lowlevel.Task] | None = None
    _busy: set[tuple[str, int]]

    # Awaited before an operation does anything.
    _cancellation_point: Callable[..., Awaitable[None]] = staticmethod(
        trio.lowlevel.checkpoint_if_cancelled
    )

    def __init__(self, link: Link, call: Call) -> None:
        self.link = link
        self.call = call
        call.owner = self
        if call.operation.pipes:
            self._busy = set()

    def wake(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            for task in tasks:
                trio.lowlevel.reschedule(task)

    def stop(self) -> None:
        if self.scope is not None:
            self.scope.cancel()

    def notify(self, event: CallEvent) -> None:
        pass  # a client's driver overrides this

    async def wait(self) -> None:
        """Waits until the call is woken."""
        # A ParkingLot for each call would cost more than waiting itself.
        task = trio.lowlevel.current_task()
        tasks = self._tasks
        if tasks is None:
            tasks = self._tasks = []
        tasks.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            tasks.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def wait_turn(self, index: int, *, into: bool) -> None:
        """Waits until it is this pipe's turn, or the call has failed."""
        call = self.call
        while call.cursor.turn not in ((into, index), None) and call.failure is None:
            await self.wait()

    async def wait_for_others(self) -> None:
        """Waits while a pipe of :attr:`others` has its turn."""
        while self.call.cursor.turn in self.others and self.call.failure is None:
            await self.wait()

    @_ki_protected
    async def pull(self, index: int, max_elements: int | None) -> Any:
        """Does what :meth:`ipcpipes.rpc.InPipe.pull` describes."""
        call, link = self.call, self.link
        limit = LARGEST_COUNT if max_elements is None else max_elements
        key = ("pulling from", index)
        is_mine = waited = False
        if call.failure is None:
            await _checkpoint_if_cancelled()
        else:
            await self._cancellation_point()
        try:
            if key in self._busy:
                raise self._is_busy(key)
            self._busy.add(key)
            is_mine = True
            while (octets := call.pull(index, limit)) is None:
                link.flush()
                await self.wait()
                waited = True
            link.flush()
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
        except Exception:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        finally:
            if is_mine:
                self._busy.remove(key)
        return chunk_of(octets, call.operation.pipes[index].element)

    @_ki_protected
    async def push(self, index: int, elements: object) -> None:
        """Does what :meth:`ipcpipes.rpc.OutPipe.push` describes."""
        call, link = self.call, self.link
        key = ("pushing into", index)
        octets: memoryview | None = None
        is_mine = False
        if call.failure is None:
            await _checkpoint_if_cancelled()
        else:
            await self._cancellation_point()
        try:
            octets = _bytes_of(elements, call.operation.pipes[index].element)
            if key in self._busy:
                raise self._is_busy(key)
            self._busy.add(key)
            is_mine = True
            parts = call.push_at_once(index, octets) if link.takes_memory else None
            if parts is None:
                waited = await self._push(index, octets)
            else:
                waited = await link.send_memory(*parts)
        except Exception:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        finally:
            if octets is not None:
                octets.release()  # or the traceback of a cancellation would keep the user's memory
            if is_mine:
                self._busy.remove(key)
        if not waited:
            await _cancel_shielded_checkpoint()

    async def push_octets(self, index: int, octets: memoryview) -> None:
        """Does the same as :meth:`push` for a chunk of a source, which is already bytes, and then
        releases ``octets``.
        """
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            waited = await self._alone("pushing into", index, self._push, index, octets)
        finally:
            octets.release()
        if not waited:
            await _cancel_shielded_checkpoint()

    async def _push(self, index: int, octets: memoryview) -> bool:
        """Pushes in as many steps as necessary. Returns whether it has waited."""
        call = self.call
        push = Push(octets, len(octets) // call.operation.pipes[index].element.stride)
        # A push without elements is checked like any other push, except for the range.
        call.check_push(index, push.count or None)
        if 0 < len(octets) <= SMALL and not self.link.is_full and call.push_small(index, octets):
            self.link.flush_soon()
            return False
        link = self.link
        waited = False
        while not push.done:
            if link.is_full:
                await link.wait_room()
                waited = True
            if link.takes_memory:
                parts = call.push_in_place(index, push)
                if parts is not None:
                    waited |= await link.send_memory(*parts)
                    continue
            elif call.push_some(index, push):
                link.flush()
                continue
            await self.wait()
            waited = True
        return waited

    @_ki_protected
    def push_nowait(self, index: int, elements: object) -> None:
        """Does what :meth:`ipcpipes.rpc.OutPipe.push_nowait` describes."""
        call = self.call
        octets: bytes | memoryview
        if type(elements) is bytes and len(elements) % call.outgoing[index].stride == 0:
            octets = elements
        else:
            octets = bytes_of(elements, call.operation.pipes[index].element)
        if (key := ("pushing into", index)) in self._busy:
            raise self._is_busy(key)
        if len(octets) > SMALL:
            raise ValueError(f"push_nowait takes up to {SMALL:,} bytes; use push() for more")
        if not octets:
            call.check_push(index, None)
            return
        if self.link.is_full or not call.push_small(index, octets):
            raise trio.WouldBlock
        self.link.flush_soon()

    async def close(self, index: int) -> None:
        """Does what :meth:`ipcpipes.rpc.OutPipe.close` describes."""
        await self._cancellation_point()
        await self._alone("pushing into", index, self._close, index)

    async def _close(self, index: int) -> None:
        call = self.call
        call.check_push(index, None)
        while not call.close_pipe(index):
            await self.wait()
            call.check_push(index, None)
        self.link.flush()
        await trio.lowlevel.cancel_shielded_checkpoint()

    @_ki_protected
    async def _alone(
        self, doing: str, index: int, action: Callable[..., Any], *arguments: object
    ) -> Any:
        """Runs the action, which only one task at a time may do with this pipe. This is a
        checkpoint even if the action fails.
        """
        key = (doing, index)
        is_mine = False
        try:
            if key in self._busy:
                raise self._is_busy(key)
            self._busy.add(key)
            is_mine = True
            return await action(*arguments)
        except Exception:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        finally:
            if is_mine:
                self._busy.remove(key)

    def _is_busy(self, key: tuple[str, int]) -> trio.BusyResourceError:
        doing, index = key
        return trio.BusyResourceError(f"another task is {doing} {self._name(index)}")

    def _name(self, index: int) -> str:
        return f"the pipe {self.call.operation.pipes[index].name}"
