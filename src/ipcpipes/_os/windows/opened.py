"""Windows: handles between the call that opens them and what will own them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..._ffi import ffi, lib
from ..common.opened import OpenedNumbers

__all__ = ["Instance", "Opened"]


class Opened(OpenedNumbers):
    """Handles. A failed call has minus the error code as its result."""

    _close_number: Callable[[int], object] = staticmethod(lib.ipc_close)


class Instance(Opened):
    """A pipe instance that waits for a client, with the kernel's operation.

    The operation is the kernel's until it has ended. So what closes the instance cancels the
    operation, and waits for its end before the memory goes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operation = ffi.new("ipc_operation *")
        self._close_number = partial(lib.ipc_close_instance, self.operation)
