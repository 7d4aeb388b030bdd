"""The child's side: makes streams of the handles that its environment names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import _os
from ..endpoint import Endpoint
from ..errors import EndpointError, NoParent
from ..framing import Framing, Native
from ..framing.resolving import kind_of, resolve_framing
from ..options import check_max_descriptors
from .handover import Handle, Handover, Kind, take


class Adopted(NamedTuple):
    """The streams that this process has got from its parent.

    Attributes:
        ends: the streams that were wanted, by name.
        lifeline: a stream that ends when the parent ends or leaves its block.
        handover: everything that the environment said; for a channel, with the framing and the
            ``max_descriptors`` that both ends use.
    """

    ends: dict[str, Any]
    lifeline: Any
    handover: Handover

    def channel(self, channel_over: Callable[..., Any]) -> Any:
        """Makes the channel with this function of the driver."""
        told = self.handover
        return channel_over(self.ends["channel"], told.framing, told.max_descriptors)


def adopt(
    wanted: str,
    connect: Callable[..., Any],
    close: Callable[[Any], object],
    framing: Framing | Native | None = None,
    max_descriptors: int | None = None,
) -> Adopted:
    """Makes streams of the handles that the parent has handed to this process, and removes from
    the environment the variables that name them.

    Args:
        wanted: ``stream``, ``channel``, or ``pipe.`` for all pipes.
        connect: makes a stream of a handle, for the driver.
        close: closes what ``connect`` has returned.
        framing: the user's framing, for a channel whose framing the parent could not describe.
        max_descriptors: the user's value, for a channel; ``None`` for the parent's value.

    Raises:
        NoParent, TypeError: as :func:`ipcpipes.parent_channel` says.
    """
    if framing is not None:
        framing = resolve_framing(framing)
    if max_descriptors is not None:
        check_max_descriptors(max_descriptors)
    handover = take(os.environ, wanted)
    handles = {name: handle for name, handle in handover.handles.items() if name.startswith(wanted)}
    handles["lifeline"] = handover.handles["lifeline"]
    for name, handle in handles.items():
        _check_fingerprint(name, handle)
    if "channel" in handles:
        handover = handover._replace(
            framing=_agreed(framing, handover.framing, handles["channel"].kind),
            max_descriptors=_agreed_descriptors(max_descriptors, handover.max_descriptors),
        )
    ends: dict[str, Any] = {}
    try:
        for name, handle in handles.items():
            endpoint = Endpoint.inherited(handle.number)
            ends[name] = connect(endpoint, kind=handle.kind, buffer_size=None, waited=0.0)
    except BaseException as error:
        for end in ends.values():
            close(end)
        if isinstance(error, EndpointError):
            raise NoParent(str(error)) from error
        raise
    return Adopted(ends, ends.pop("lifeline"), handover)


def _check_fingerprint(name: str, handle: Handle) -> None:
    try:
        fingerprint = _os.fingerprint(int(handle.number))
    except (OSError, OverflowError):
        fingerprint = "none"
    if handle.fingerprint and fingerprint != handle.fingerprint:
        raise NoParent(
            f"this process has not inherited the parent's {name}: number {handle.number} is "
            "something else here; a process in between has closed it or has not passed it on"
        )


def _agreed(
    given: Framing | Native | None, told: Framing | Native | None, kind: Kind
) -> Framing | Native:
    framing = told if given is None else given
    if framing is None:
        raise TypeError(
            "the parent uses a framing that it cannot describe; pass the same framing: "
            "parent_channel(framing)"
        )
    if kind_of(framing) != kind:
        raise TypeError(f"framing must be {'' if kind == 'messages' else 'other than '}NATIVE here")
    return framing


def _agreed_descriptors(given: int | None, told: int) -> int:
    # On Windows the format of the messages depends on whether max_descriptors is 0.
    if given is not None and bool(given) != bool(told):
        raise TypeError(
            f"the parent opened this channel with max_descriptors={told}; max_descriptors must be "
            "0 at both ends, or more than 0 at both ends"
        )
    return told if given is None else given
