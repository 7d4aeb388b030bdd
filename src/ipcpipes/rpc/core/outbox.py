"""The frames that one end of a connection sends, in order, and the limits of their size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wire.format import FRAGMENT, HEAD, Kind, Limits, encode
from .state import Party

if TYPE_CHECKING:
    from .call import Call

__all__ = ["Outbox"]


class Outbox:
    """The output of one end of a connection.

    Args:
        party: which end this is.
        limits: what this end accepts.

    Attributes:
        output: the frames that are to be sent.
        output_size: their size in bytes.
        dirty: the calls with small elements that are not in frames yet, to be sent together.
        notified: the calls whose users are notified when the output was sent.
        leaving: the same for the output that is being sent now.
        largest_body: the largest body of a frame: the peer accepts it, and this end's channel
            carries it. In bytes.
        fragment: the largest body of a frame for a pipe.
    """

    def __init__(self, party: Party, limits: Limits) -> None:
        self.party = party
        self.peer = Party.SERVER if party is Party.CLIENT else Party.CLIENT
        self.limits = limits
        self.output: list[bytes] = []
        self.output_size = 0
        self.dirty: dict[Call, None] = {}
        self.notified: dict[Call, None] = {}
        self.leaving: dict[Call, None] = {}
        self.peer_max_frame = 0
        self.fragment = 0
        self.largest_body = 0

    def _set_max_frame(self, theirs: int) -> None:
        self.peer_max_frame = theirs
        self.largest_body = min(theirs, self.limits.carried) - HEAD.size
        self.fragment = min(FRAGMENT, self.largest_body)

    def emit(
        self, kind: Kind, call: int = 0, body: bytes = b"", *, number: int = 0, amount: int = 0
    ) -> None:
        """Puts a frame into the output."""
        self.emit_frame(encode(kind, call, body, number=number, amount=amount))

    def emit_frame(self, frame: bytes) -> None:
        """Puts an encoded frame into the output."""
        self.output.append(frame)
        self.output_size += len(frame)

    @property
    def has_output(self) -> bool:
        return bool(self.output or self.dirty)

    def complete_output(self) -> None:
        """Makes frames of the collected small elements. Nothing is then missing in the output."""
        for call in self.dirty:
            call.flush()
        self.dirty.clear()
        if self.notified:
            self.leaving.update(self.notified)
            self.notified.clear()

    def sent(self) -> None:
        """Notifies the users that asked for it, after the system has taken the output that
        :meth:`complete_output` completed.
        """
        leaving, self.leaving = self.leaving, {}
        for call in leaving:
            call.was_sent()

    def take_output(self) -> list[bytes]:
        """Removes and returns the frames to send now, in order."""
        self.complete_output()
        output, self.output = self.output, []
        self.output_size = 0
        return output

    def fits(self, body: bytes) -> bool:
        """Whether a frame with this body can be sent."""
        return len(body) <= self.largest_body

    def too_large(
        self, what: str, body: bytes, advice: str = "send large values through a pipe"
    ) -> str:
        """Returns the error text for a body that does not fit."""
        limit = f"the {self.peer.name.lower()} takes frames of at most {self.peer_max_frame:,}"
        if self.limits.carried < self.peer_max_frame:
            limit = f"this end's channel carries messages of at most {self.limits.carried:,}"
        return f"{what} {len(body):,} bytes, and {limit}; {advice}"
