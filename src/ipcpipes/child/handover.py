"""The environment variables that tell a child its handles. This module does no I/O.

For programs without ipcpipes, a variable holds the number of each handle: ``IPCPIPES_STREAM``,
``IPCPIPES_CHANNEL``, ``IPCPIPES_PIPE_`` and the name in capitals. For ipcpipes in the child,
``IPCPIPES_PARENT`` holds all that the child needs to know, as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, NamedTuple, get_args

from ..endpoint import Endpoint
from ..errors import NoParent
from ..framing import ContentLength, Framing, LengthPrefixed, Lines, Native
from ..options import check_max_descriptors

VARIABLE = "IPCPIPES_PARENT"
VERSION = 1

Kind = Literal["duplex", "send", "receive", "messages"]
_OPPOSITE: dict[str, Kind] = {"send": "receive", "receive": "send"}
# Exactly these classes: a subclass may have fields that are not known here.
_FRAMINGS: dict[str, type[Any]] = {
    each.__name__: each for each in (LengthPrefixed, Lines, ContentLength, Native)
}
_encode = json.JSONEncoder(separators=(",", ":")).encode
_PIPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


class Handle(NamedTuple):
    """One handle of the child.

    Attributes:
        number: the number of the handle, in decimal digits.
        kind: what the child does with the handle.
        fingerprint: tells this handle from another one with the same number; empty on a system
            without fingerprints.
    """

    number: str
    kind: Kind
    fingerprint: str


class Handover(NamedTuple):
    """Everything that a child is told.

    Attributes:
        handles: by name: ``stream``, ``channel``, or ``pipe.`` and a name. ``lifeline`` is a pipe
            that carries no data: the end of its stream shows that the parent has ended.
            ``listener`` is a listening socket.
        framing: the framing of the channel, ``None`` for a framing that is not in ``_FRAMINGS``.
        group: for a worker, what its group tells it.
        max_descriptors: how many descriptors the parent accepts with one message.
    """

    handles: Mapping[str, Handle]
    framing: Framing | Native | None = None
    group: Mapping[str, Any] | None = None
    max_descriptors: int = 0


def opposite(kind: Kind) -> Kind:
    """Returns the kind of the other end of a pair."""
    return _OPPOSITE.get(kind, kind)


def check_pipe_names(names: object) -> None:
    """Checks that each pipe name can be part of the name of an environment variable.

    Raises:
        TypeError, ValueError: a name is not valid, or two names give the same variable.
    """
    if not isinstance(names, Mapping) or not names:
        raise TypeError(f"pipes must be a mapping of one name or more, not {names!r}")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not _PIPE_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is not a name for a pipe: a letter, then up to 31 letters, digits or _"
            )
        if name.upper() in seen:
            raise ValueError(
                f"there are two pipes named {name!r}: names that differ only in case are the same"
            )
        seen.add(name.upper())


def variables(handover: Handover) -> dict[str, str]:
    """Returns the variables that are added to the child's environment."""
    found = {}
    for name, handle in handover.handles.items():
        if name.startswith(("stream", "channel", "pipe.")):
            found["IPCPIPES_" + name.replace(".", "_").upper()] = handle.number
    # This takes a third of the time that an encoder takes. Nothing in a handle needs an escape.
    handles = [f'"{name}":["{it[0]}","{it[1]}","{it[2]}"]' for name, it in handover.handles.items()]
    framing = group = "null"
    if handover.framing is not None:
        framing = _encode(_described(handover.framing))
    if handover.group is not None:
        group = _encode(handover.group)
    found[VARIABLE] = (
        f'{{"version":{VERSION},"handles":{{{",".join(handles)}}},"framing":{framing},'
        f'"group":{group},"max_descriptors":{handover.max_descriptors}}}'
    )
    return found


def is_ours(variable: str) -> bool:
    """Returns whether this environment variable is one of ipcpipes'."""
    return variable in (VARIABLE, "IPCPIPES_STREAM", "IPCPIPES_CHANNEL") or variable.startswith(
        "IPCPIPES_PIPE_"
    )


def take(environment: MutableMapping[str, str], wanted: str) -> Handover:
    """Reads what the parent has told this process, and removes it from the environment, so that
    children of this process do not read it as their own.

    Args:
        wanted: the handle that must be there, or ``pipe.`` for any pipe. If it is missing, the
            environment stays as it is.

    Raises:
        NoParent: the environment has no such variables, or the handle is missing.
    """
    text = environment.get(VARIABLE)
    if text is None:
        raise NoParent(
            "this process has no parent to talk to: ipcpipes.open_child has not started it, or it "
            "has taken its connection already"
        )
    handover = _parsed(text)
    if not any(name.startswith(wanted) for name in handover.handles):
        there = ", ".join(name for name in handover.handles if name != "lifeline")
        asks = {"stream": "parent_stream", "channel": "parent_channel", "pipe.": "parent_pipes"}
        call = next((asks[n] for n in asks if there.startswith(n)), None)
        advice = f"; call {call}()" if call is not None else ""
        raise NoParent(f"the parent gave this process no {wanted.rstrip('.')}, but {there}{advice}")
    for name in variables(handover):
        environment.pop(name, None)
    return handover


def _parsed(text: str) -> Handover:
    try:
        told = json.loads(text)
        if told["version"] != VERSION:
            raise NoParent(
                f"the parent uses another version of {VARIABLE} ({told['version']}, here it is "
                f"{VERSION}); use the same version of ipcpipes in both processes"
            )
        handles = {name: _handle(*handle) for name, handle in told["handles"].items()}
        if "lifeline" not in handles:
            raise ValueError("no lifeline")
        most = told.get("max_descriptors", 0)
        check_max_descriptors(most)
        return Handover(handles, _framing(told["framing"]), _group(told["group"]), most)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise NoParent(f"{VARIABLE} in the environment is not ipcpipes' own: {text!r}") from None


def _handle(number: str, kind: str, fingerprint: str) -> Handle:
    Endpoint.inherited(number)
    if kind not in get_args(Kind) or not isinstance(fingerprint, str):
        raise ValueError(kind)
    return Handle(number, kind, fingerprint)  # type: ignore[arg-type]  # it is one of them


def _group(found: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is not None:
        for name in ("number", "endpoint", "access", "backlog"):
            found[name]  # or a KeyError
        if found["endpoint"] is not None:
            Endpoint(*found["endpoint"])
    return found


def _described(framing: Framing | Native | None) -> dict[str, Any] | None:
    kind = type(framing).__name__
    if _FRAMINGS.get(kind) is not type(framing):
        return None
    found: dict[str, Any] = {"type": kind}
    for field in dataclasses.fields(_FRAMINGS[kind]):
        if field.init:
            value = getattr(framing, field.name)
            found[field.name] = value.hex() if isinstance(value, bytes) else value
    return found


def _framing(found: dict[str, Any] | None) -> Framing | Native | None:
    if found is None:
        return None
    options = dict(found)
    kind = _FRAMINGS[options.pop("type")]
    if kind is Lines:
        options["delimiter"] = bytes.fromhex(options["delimiter"])
    framing: Framing | Native = kind(**options)
    return framing
