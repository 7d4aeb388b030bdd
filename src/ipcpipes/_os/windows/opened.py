"""Windows: handles between the call that opens them and the object that will own them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..._ffi import ffi, lib
from ..common.opened import OpenNumbers

__all__ = ["Instance", "Opened"]


class Opened(OpenNumbers):
    """Open handles. The result of a failed call is minus the error code."""

    _close_number: Callable[[int], object] = staticmethod(lib.ipc_close)


class Instance(Opened):
    """A pipe instance that waits for a client, with its overlapped ConnectNamedPipe.

    The system may write to the operation until its completion. So closing the instance cancels the
    operation, and waits for the completion before the memory is freed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operation = ffi.new("ipc_operation *")
        self._close_number = partial(lib.ipc_close_instance, self.operation)
