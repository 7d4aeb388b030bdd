"""The child's side: what its environment tells becomes what code holds."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

from .. import _os
from ..endpoint import Endpoint
from ..errors import EndpointError, NoParent
from ..framing import Framing, Native
from ..framing.resolving import kind_of, resolve_framing
from ..options import check_max_descriptors
from .handover import Handle, Handover, Kind, take


class Adopted(NamedTuple):
    """What this process has from its parent, and nobody else has any more.

    Attributes:
        ends: what was wanted, by name.
        lifeline: ends with the parent, or with its interest in this process.
        framing: of the channel.
        max_descriptors: that may come with one of its messages.
        handover: all that was told.
    """

    ends: dict[str, Any]
    lifeline: Any
    framing: Framing | Native | None
    max_descriptors: int
    handover: Handover


def adopt(
    environment: MutableMapping[str, str],
    wanted: str,
    connect: Callable[..., Any],
    close: Callable[[Any], object],
    framing: Framing | Native | None = None,
    max_descriptors: int | None = None,
) -> Adopted:
    """Takes over what the parent has handed to this process.

    Args:
        environment: where it is told, and taken out of.
        wanted: ``stream``, ``channel``, or ``pipe.`` for all pipes.
        connect: the system's, for the driver.
        close: closes what ``connect`` gave.
        framing: the user's, for a channel whose own cannot be described.
        max_descriptors: the user's, for a channel; the parent's when ``None``.

    Raises:
        NoParent, TypeError: as :func:`ipcpipes.parent_channel` says.
    """
    if framing is not None:
        framing = resolve_framing(framing)
    if max_descriptors is not None:
        check_max_descriptors(max_descriptors)
    handover = take(environment, wanted)
    handles = {name: handle for name, handle in handover.handles.items() if name.startswith(wanted)}
    handles["lifeline"] = handover.handles["lifeline"]
    for name, handle in handles.items():
        _check_mark(name, handle)
    if "channel" in handles:
        framing = _agreed(framing, handover.framing, handles["channel"].kind)
        max_descriptors = _agreed_descriptors(max_descriptors, handover.max_descriptors)
    ends: dict[str, Any] = {}
    try:
        for name, handle in handles.items():
            ends[name] = _taken_over(handle, connect)
    except BaseException as error:
        for end in ends.values():
            close(end)
        if isinstance(error, EndpointError):
            raise NoParent(str(error)) from error
        raise
    return Adopted(ends, ends.pop("lifeline"), framing, max_descriptors or 0, handover)


def _check_mark(name: str, handle: Handle) -> None:
    try:
        mark = _os.fingerprint(int(handle.number))
    except (OSError, OverflowError):
        mark = "none"
    if handle.mark and mark != handle.mark:
        raise NoParent(
            f"the parent's {name} did not come along: number {handle.number} is something else "
            "here; a process in between has not passed it on, or has closed it"
        )


def _agreed(
    given: Framing | Native | None, told: Framing | Native | None, kind: Kind
) -> Framing | Native:
    framing = told if given is None else given
    if framing is None:
        raise TypeError(
            "the parent has a framing of its own; give the same one: parent_channel(framing)"
        )
    if kind_of(framing) != kind:
        raise TypeError(f"framing must be {'' if kind == 'messages' else 'other than '}NATIVE here")
    return framing


def _agreed_descriptors(given: int | None, told: int) -> int:
    # On Windows it is a part of how messages look.
    if given is not None and bool(given) != bool(told):
        raise TypeError(
            f"the parent opened this channel with max_descriptors={told}; max_descriptors must be "
            "0 at both ends, or more than 0 at both ends"
        )
    return told if given is None else given


def _taken_over(handle: Handle, connect: Callable[..., Any]) -> Any:
    endpoint = Endpoint.inherited(handle.number)
    return connect(endpoint, kind=handle.kind, buffer_size=None, waited=0.0)
