"""What a child is told of its handles, in its environment. Pure: no handle is touched here.

Any program finds the number of a handle in a variable of its own (``IPCPIPES_STREAM``,
``IPCPIPES_CHANNEL``, ``IPCPIPES_PIPE_`` and the name in capitals). ``IPCPIPES_PARENT`` holds the
whole as JSON, for ipcpipes in the child.
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
# Exactly these: what a subclass adds is not known here.
_FRAMINGS: dict[str, type[Any]] = {
    each.__name__: each for each in (LengthPrefixed, Lines, ContentLength, Native)
}
_encoded = json.JSONEncoder(separators=(",", ":")).encode
_PIPE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


class Handle(NamedTuple):
    """One handle of the child's.

    Attributes:
        number: as text, in decimal digits.
        kind: what the child does with it.
        mark: what tells it from another one with that number; empty where the system has no such
            thing.
    """

    number: str
    kind: Kind
    mark: str


class Handover(NamedTuple):
    """All that a child is told.

    Attributes:
        handles: ``stream``, ``channel``, or ``pipe.`` and a name; ``lifeline`` is a pipe on which
            nothing comes but its end; ``listener`` a socket that listens.
        framing: of the channel, ``None`` for one that cannot be described.
        group: what a worker is told by its group.
        max_descriptors: how many descriptors the parent lets come with one message.
    """

    handles: Mapping[str, Handle]
    framing: Framing | Native | None = None
    group: Mapping[str, Any] | None = None
    max_descriptors: int = 0


def opposite(kind: Kind) -> Kind:
    """What the other end of a pair does."""
    return _OPPOSITE.get(kind, kind)


def check_pipe_names(names: object) -> None:
    """Refuses names of pipes that no variable can have.

    Raises:
        TypeError, ValueError: one is no name, or stands for the same variable as another one.
    """
    if not isinstance(names, Mapping) or not names:
        raise TypeError(f"pipes must be a mapping of one name or more, not {names!r}")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not _PIPE_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no name for a pipe: a letter and then up to 31 letters, digits or _"
            )
        if name.upper() in seen:
            raise ValueError(f"{name!r} is there twice, upper and lower case taken as the same")
        seen.add(name.upper())


def variables(handover: Handover) -> dict[str, str]:
    """What is added to the child's environment."""
    found = {}
    for name, handle in handover.handles.items():
        if name.startswith("pipe."):
            found["IPCPIPES_PIPE_" + name[5:].upper()] = handle.number
        elif name in ("stream", "channel"):
            found["IPCPIPES_" + name.upper()] = handle.number
    found[VARIABLE] = _encoded(
        {
            "version": VERSION,
            "handles": handover.handles,
            "framing": _described(handover.framing),
            "group": handover.group,
            "max_descriptors": handover.max_descriptors,
        }
    )
    return found


def is_ours(variable: str) -> bool:
    """Whether it tells a child of handles, perhaps of those that this process got."""
    return variable in (VARIABLE, "IPCPIPES_STREAM", "IPCPIPES_CHANNEL") or variable.startswith(
        "IPCPIPES_PIPE_"
    )


def take(environment: MutableMapping[str, str], wanted: str) -> Handover:
    """What this process was told; it is gone from the environment afterwards, so that children of
    this process do not take it for theirs.

    Args:
        wanted: the handle that there must be, or ``pipe.`` for any pipe; else all stays.

    Raises:
        NoParent: nothing was told, or there is no such handle.
    """
    text = environment.get(VARIABLE)
    if text is None:
        raise NoParent(
            "this process has no parent to talk to: it was not started by ipcpipes.open_child, or "
            "has asked before"
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
                f"{VERSION}); take the same ipcpipes in both processes"
            )
        handles = {name: _handle(*handle) for name, handle in told["handles"].items()}
        if "lifeline" not in handles:
            raise ValueError("no lifeline")
        most = told.get("max_descriptors", 0)
        check_max_descriptors(most)
        return Handover(handles, _framing(told["framing"]), _group(told["group"]), most)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise NoParent(f"{VARIABLE} in the environment is not ipcpipes' own: {text!r}") from None


def _handle(number: str, kind: str, mark: str) -> Handle:
    Endpoint.inherited(number)
    if kind not in get_args(Kind) or not isinstance(mark, str):
        raise ValueError(kind)
    return Handle(number, kind, mark)  # type: ignore[arg-type]  # it is one of them


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
