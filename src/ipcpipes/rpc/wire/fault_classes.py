"""The classes of the errors that a server sends, by their codes."""

from __future__ import annotations

from ..errors import (
    BadStubData,
    CallCancelled,
    CommFailure,
    Fault,
    PipeError,
    ProcnumOutOfRange,
    RpcError,
    ServerTooBusy,
    StreamStopped,
)

__all__ = ["FAULT_CLASSES"]

# The classes that a client raises for the codes that a server sends. For any other code it raises
# Fault.
_SENT: tuple[type[RpcError], ...] = (
    *PipeError.__subclasses__(),
    Fault,
    CommFailure,
    CallCancelled,
    BadStubData,
    ProcnumOutOfRange,
    ServerTooBusy,
    StreamStopped,
)
FAULT_CLASSES = {kind.default_code: kind for kind in _SENT}
