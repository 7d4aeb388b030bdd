"""Windows: inherited ends that another program made with CreatePipe, as trio streams.

Such a handle is synchronous (.NET's AnonymousPipeServerStream, subprocess): no completion port
takes it, and whoever waits inside an operation makes everybody wait who does anything else with
it. So nobody waits inside: an operation takes what can be had at once, and there are pauses in
between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import trio

from ...._ffi import ffi
from .. import calls
from . import pipe as anonymous

assert sys.platform == "win32" or not TYPE_CHECKING

# Seconds. Short at first, for an answer that is on its way; then few enough to cost nothing.
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.02
# What is tried at once: such a pipe mostly holds 4 KiB.
LARGEST_WRITE = 1 << 16
INTERRUPTED = "a send was interrupted, and a part may have gone out"


def pauses() -> Iterator[float]:
    """How many seconds to wait, each time that nothing could be done."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


def fault_of(code: int) -> str:
    """Why nothing more can be sent."""
    gone = "the other end has closed or died"
    return gone if code in calls.PEER_GONE else str(calls.winerror(code))


class SendStream(anonymous.SendStream):
    """The send end of an anonymous pipe that another program made; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """

    def _require_open(self) -> int:
        if self._handle == -1:
            raise self._closed_here()
        if not self._used:
            # Not before: who hands this end over gives it away as it came.
            calls.write_without_waiting(self._handle)
            self._used = True
        return self._handle

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._require_sendable()
            with ffi.from_buffer(memoryview(data)) as buffer:
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
        except trio.Cancelled:
            if done:
                self._send_fault = f"a send_all was cancelled after {done} of {length} bytes"
            raise

    def _write(self, start: Any, length: int) -> int:
        """How many bytes were written, 0 when there is no room."""
        handle = self._require_open()
        # A KeyboardInterrupt can come right after the call and take its result away.
        self._send_fault = INTERRUPTED
        code, count = calls.write_now(handle, start, min(length, LARGEST_WRITE))
        self._send_fault = None
        if code in (0, calls.WAIT_TIMEOUT):
            return count
        self._send_fault = fault_of(code)
        raise trio.BrokenResourceError(self._send_fault)


class ReceiveStream(anonymous.ReceiveStream):
    """The receive end of an anonymous pipe that another program made; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """

    def _require_open(self) -> int:
        if self._handle == -1:
            raise self._closed_here()
        self._used = True
        return self._handle

    async def _read(self, memory: Any, size: int, owner: object) -> int:
        for pause in pauses():
            code, count = calls.read_now(self._require_open(), memory, size)
            if code != calls.WAIT_TIMEOUT:
                break
            await trio.sleep(pause)
        await trio.lowlevel.cancel_shielded_checkpoint()
        if code == 0:
            return count
        if code in calls.PEER_GONE:
            return -1
        raise trio.BrokenResourceError(str(calls.winerror(code)))
