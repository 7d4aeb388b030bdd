"""The channel between the master of a group and its workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from ...abc import MessageChannel
from ...framing import Buffer, Framing, Native
from ...framing.resolving import resolve_framing
from ...options import check_max_descriptors

OnMessage: TypeAlias = Callable[..., Awaitable[object]]
"""A function for the messages of the workers."""


class Talk:
    """The options of the channel between a master and each of its workers.

    An empty message is a signal: from a worker it means "ready", to a worker it means "finish".

    Args:
        framing, max_descriptors, on_message: as for :class:`ipcpipes.WorkerGroup`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range, or the framing
            does not carry empty messages.
    """

    def __init__(
        self,
        framing: Framing | Native | None,
        max_descriptors: int,
        on_message: OnMessage | None,
    ) -> None:
        self.framing = resolve_framing(framing)
        if isinstance(self.framing, Framing) and not _carries_empty(self.framing):
            raise ValueError(
                f"the framing of a group must carry empty messages, and {framing!r} does not"
            )
        check_max_descriptors(max_descriptors)
        self.max_descriptors = max_descriptors
        self.on_message = on_message

    async def receive(self, channel: MessageChannel) -> list[tuple[Any, ...]]:
        """Returns one or more received messages; with ``max_descriptors``, each with the list of
        its descriptors.

        Raises:
            What the channel raises.
        """
        if self.max_descriptors:
            return [await channel.receive_descriptors()]
        return [(message,) for message in await channel.receive_many()]


def check_message(message: Buffer) -> None:
    """Raises:
    ValueError: the message is empty.
    """
    if not len(message):
        raise ValueError("a message of a group cannot be empty: an empty message is a signal")


def _carries_empty(framing: Framing) -> bool:
    try:
        return list(framing.splitter().split(bytes(framing.join((b"",))))) == [b""]
    except ValueError:
        return False
