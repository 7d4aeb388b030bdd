"""The metadata of calls and of their answers, at both ends of a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from ..errors import BadStubData, ProtocolError, RpcError, TooLarge
from ..wire.format import Frame, Kind, pack_head
from ..wire.metadata import MOST_METADATA, NO_METADATA, Metadata, MetadataValue, decode_metadata
from .events import Event, Happened
from .state import Party

if TYPE_CHECKING:
    from ..definition.operations import Operation
    from .call import Call
    from .session import Session

__all__ = [
    "Described",
    "SessionMetadata",
    "answer_metadata_of",
    "merged",
    "take_metadata",
]


class Described:
    """The metadata of a call. These are class attributes, because most calls have none.

    Attributes:
        metadata: at the server: what the client has sent.
        answer_metadata: at the client: what the server has sent. At the server: what is sent with
            the answer, a :class:`Metadata` as soon as there may be some.
    """

    metadata: Mapping[str, MetadataValue] = NO_METADATA
    answer_metadata: Mapping[str, MetadataValue] = NO_METADATA


class SessionMetadata:
    """What a session knows about metadata.

    Attributes:
        limit: how many bytes the peer takes; 0 for a peer that knows no metadata.
        is_taken: this end has told the peer that it takes metadata.
        coming: at a server: the metadata of the call that begins next, or what is wrong with it.
    """

    limit = 0
    is_taken = False
    coming: Mapping[str, MetadataValue] | RpcError | None = None
    _hidden: dict[int, Operation]

    # The handshake.

    def announce(self) -> int:
        """Returns how many bytes this end takes, for its handshake."""
        self.is_taken = True
        return MOST_METADATA

    def agree(self, theirs: object) -> None:
        """Takes what the handshake of the peer says."""
        if isinstance(theirs, int):
            self.limit = max(min(theirs, MOST_METADATA), 0)

    def answer(self, theirs: object) -> int | msgspec.UnsetType:
        """Takes what a client says, and returns what the server answers: a client of an earlier
        revision gets the same octets as before.
        """
        self.agree(theirs)
        return self.announce() if isinstance(theirs, int) else msgspec.UNSET

    # What is sent.

    def frames(
        self, session: Session, call: int, metadata: bytes, request: bytes
    ) -> tuple[bytes, ...]:
        """Returns the frames that begin a call.

        Args:
            metadata: encoded. It is not sent to a server that knows no metadata.

        Raises:
            TooLarge: the server takes less metadata.
        """
        if not metadata or not self.limit:
            return (request,)
        limit = min(self.limit, session.largest_body)
        if len(metadata) > limit:
            raise TooLarge(
                f"the metadata has {len(metadata):,} bytes, and the server takes {limit:,}"
            )
        return pack_head(Kind.METADATA, 0, 0, 0, call) + metadata, request

    def send_answer(self, session: Session, call: Call) -> None:
        """Sends the metadata of an answer, which follows, unless the client takes none."""
        found = call.answer_metadata
        if isinstance(found, Metadata) and self.limit and not call.operation.options.maybe:
            session.emit(Kind.METADATA, call.id, found.encoded)

    # What has come.

    def hold(self, session: Session, coming: Mapping[str, MetadataValue] | RpcError) -> None:
        """Keeps the metadata of the next call. Until it begins, no operation is plain: so plain
        calls need not ask whether they have metadata.
        """
        self.coming = coming
        self._hidden, session.plain_operations = session.plain_operations, {}

    def release(self, session: Session) -> tuple[Mapping[str, MetadataValue], RpcError | None]:
        """Returns the metadata of the call that begins, and what is wrong with it."""
        coming, self.coming = self.coming, None
        if coming is None:
            return NO_METADATA, None
        session.plain_operations = self._hidden
        return (NO_METADATA, coming) if isinstance(coming, RpcError) else (coming, None)


def take_metadata(session: Session, frame: Frame) -> Happened:
    """Takes a METADATA frame. Invalid metadata ends the call, and not the connection.

    Raises:
        ProtocolError: no metadata may come now.
    """
    if not session.metadata.is_taken:
        raise ProtocolError("METADATA came, and this end has not said that it takes any")
    values: Mapping[str, MetadataValue] | RpcError
    try:
        values = decode_metadata(frame.body)
    except ValueError as error:
        values = BadStubData(f"the metadata of call {frame.call} is not valid: {error}")
    if session.party is Party.SERVER:
        if frame.call != session.last_call + 1:
            raise ProtocolError(
                f"METADATA for call {frame.call} came before call {session.last_call + 1}"
            )
        if session.metadata.coming is not None:
            raise ProtocolError(f"METADATA for call {frame.call} came twice")
        session.metadata.hold(session, values)
        return Event.NOTHING, None
    call = session.call_of(frame)
    if call is None or call.is_given_up or call.failure is not None:
        return Event.NOTHING, None
    if call.answer_metadata is not NO_METADATA:
        raise ProtocolError(f"METADATA for call {frame.call} came twice")
    if isinstance(values, RpcError):
        call.lose(values)
        call.orphan()
        call.inform(Event.ANSWER)
    else:
        call.answer_metadata = values
    return Event.NOTHING, None


def answer_metadata_of(call: Call) -> Metadata:
    """Returns the metadata that will be sent with the answer of a call at the server."""
    found = call.answer_metadata
    if not isinstance(found, Metadata):
        limit = call.session.metadata.limit or MOST_METADATA
        # In one step, because several threads may do this.
        found = vars(call).setdefault("answer_metadata", Metadata(limit=limit))
        assert isinstance(found, Metadata)
    return found


def merged(before: Metadata, more: Mapping[str, MetadataValue] | None) -> Metadata:
    """Returns metadata with more of it; without any for ``None``.

    Raises:
        TypeError, ValueError: it cannot be sent; see :class:`Metadata`.
    """
    if more is None:
        return Metadata()
    if not isinstance(more, Mapping):
        raise TypeError(f"metadata is a mapping, not {more!r}")
    return Metadata({**before, **more})
