"""What a client gets of an exception of a manager: its type, message and notes, the fields of a
declared exception, the exception from which it was raised, and the exceptions of a group, all
within limits.

An exception that was being handled when another one was raised (``__context__``) is not sent: it
may be an internal matter of the server. ``raise ... from cause`` says that the cause is meant.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

from ..definition.declared import Declared, DeclaredFault
from ..errors import Fault, failure_code

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["fault_of"]

logger = logging.getLogger("ipcpipes.rpc")

LONGEST_TEXT = 4 * 1024
"""Characters of a message, a name or a note."""
MOST_TEXT = 64 * 1024
"""Characters of everything together, except of the first message and name."""
MOST_EXCEPTIONS = 32
MOST_NOTES = 16
"""Of one exception."""
DEEPEST = 8
"""Causes of causes, and groups in groups."""


@dataclass
class _Room:
    """What may still be sent."""

    exceptions: int = MOST_EXCEPTIONS
    text: int = MOST_TEXT

    @property
    def is_full(self) -> bool:
        return self.exceptions <= 0 or self.text <= 0

    def take(self, text: str) -> str:
        taken = _cut(text)[: self.text]
        self.text -= len(taken)
        return taken


def fault_of(error: BaseException, declared: Declared) -> Fault:
    """Returns a fault with what the client gets of an exception.

    Args:
        declared: the exceptions that the interface declares.
    """
    return _fault_of(error, declared, _Room(), 0)


def _fault_of(error: BaseException, declared: Declared, room: _Room, depth: int) -> Fault:
    room.exceptions -= 1
    kind, message, code = _facts(error)
    fault = Fault(_cut(message), code=code, type=kind and _cut(kind))
    room.text -= len(fault.message) + len(fault.type or "")
    fault._declared = _declared(error, declared)
    found = getattr(error, "__notes__", None)
    notes = [
        room.take(note)
        for note in (found if isinstance(found, list) else [])[:MOST_NOTES]
        if isinstance(note, str) and room.text > 0
    ]
    cause = error.__cause__
    inner: list[BaseException] = []
    if isinstance(error, BaseExceptionGroup):
        inner.extend(error.exceptions)
    elif isinstance(error, Fault):  # perhaps of another server, of which the manager is a client
        inner.extend(error.sub_exceptions)
    if depth == DEEPEST:
        cause, inner = None, []
    return fault.carrying(
        notes,
        None if cause is None or room.is_full else _fault_of(cause, declared, room, depth + 1),
        [_fault_of(one, declared, room, depth + 1) for one in inner if not room.is_full],
    )


def _declared(error: BaseException, declared: Declared) -> tuple[str, bytes] | None:
    """Returns the name of the declared class of the exception, and its fields; ``None`` if it has
    no such class, or if a field cannot be sent.
    """
    for kind in type(error).__mro__:
        found: DeclaredFault | None = declared.get(kind.__name__)
        if found is not None and found.kind is kind:
            assert isinstance(error, Fault)
            try:
                return kind.__name__, found.encode_fields(error)
            except Exception as reason:
                logger.error("the fields of %s cannot be sent: %s", kind.__name__, reason)
                return None
    return None


def _facts(error: BaseException) -> tuple[str | None, str, int | None]:
    """Returns the name of the exception, its message and its code."""
    if isinstance(error, Fault):
        # Users can set the attributes to anything, and forget to call the __init__ of the base.
        kind = getattr(error, "type", None)
        message = getattr(error, "message", error.default_message)
        code = failure_code(getattr(error, "code", error.default_code))
        return None if kind is None else str(kind), str(message), code
    name, module = type(error).__qualname__, type(error).__module__
    return name if module == "builtins" else f"{module}.{name}", _text(error), None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(str() of the exception failed)"


def _cut(message: str) -> str:
    return message if len(message) <= LONGEST_TEXT else message[:LONGEST_TEXT] + "..."
