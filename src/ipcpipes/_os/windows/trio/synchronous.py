"""Windows: synchronous ends of anonymous pipes as trio streams; see ``windows/synchronous.py``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import trio

from ...._ffi import ffi
from ...common.sent_data import not_text
from .. import calls
from ..synchronous import LARGEST_WRITE, SEND_INTERRUPTED, pauses
from . import pipe as anonymous

assert sys.platform == "win32" or not TYPE_CHECKING


class SendStream(anonymous.SendStream):
    """The send end of an anonymous pipe that another program made; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """

    def _begin_use(self, handle: int) -> None:
        # This is not done earlier, because an end that is handed over unused must keep its mode.
        calls.write_without_waiting(handle)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._require_sendable()
            with ffi.from_buffer(memoryview(not_text(data))) as buffer:
                await self._send(buffer, len(buffer))
        finally:
            self._sending = False

    async def _send(self, buffer: Any, length: int) -> None:
        done = 0
        waits = pauses()
        try:
            while done < length:
                count = self._write(buffer + done, length - done)
                done += count
                if not count:
                    await trio.sleep(next(waits))
                elif done < length:
                    waits = pauses()
                    await trio.lowlevel.checkpoint()
            await trio.lowlevel.cancel_shielded_checkpoint()
        except BaseException:  # Cancelled, or a KeyboardInterrupt
            if done and self._send_fault is None:
                self._send_fault = f"a send_all was cancelled after {done} of {length} bytes"
            raise

    def _write(self, start: Any, length: int) -> int:
        """Returns the number of bytes that were written, 0 if the pipe has no room."""
        handle = self._require_open()
        # A KeyboardInterrupt can come right after the call, and then the result is lost.
        self._send_fault = SEND_INTERRUPTED
        code, count = calls.write_now(handle, start, min(length, LARGEST_WRITE))
        self._send_fault = None
        if code in (0, calls.WAIT_TIMEOUT):
            return count
        self._send_fault = calls.send_fault(code)
        raise trio.BrokenResourceError(self._send_fault)


class ReceiveStream(anonymous.ReceiveStream):
    """The receive end of an anonymous pipe that another program made; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """

    def _begin_use(self, handle: int) -> None:
        """Does nothing: reading needs no preparation."""

    async def _wait_ready(self) -> None:
        self._require_no_receiver()
        self._receiving = True
        try:
            for pause in pauses():
                if calls.can_be_read(self._require_open()):
                    break
                await trio.sleep(pause)
        finally:
            self._receiving = False

    async def _read(self, memory: Any, size: int, owner: object) -> tuple[int, int]:
        for pause in pauses():
            code, count = calls.read_now(self._require_open(), memory, size)
            if code != calls.WAIT_TIMEOUT:
                break
            await trio.sleep(pause)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return code, count
