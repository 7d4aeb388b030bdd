"""Decides whether a server accepts a client: the answer to a BIND."""

from __future__ import annotations

from collections.abc import Mapping

from ..definition.operations import Definition
from ..errors import ProtocolError, RpcError, UnknownInterface
from ..wire.format import LEAST_CREDIT, LEAST_FRAME, VERSION, Bind

__all__ = ["refusal_of"]


def refusal_of(wanted: Bind, definitions: Mapping[str, Definition]) -> RpcError | None:
    """Returns why the server refuses a client with this BIND, or ``None`` if it accepts the client.

    Args:
        definitions: the interfaces that the server serves, by their uuid as text.
    """
    if wanted.protocol != VERSION:
        return ProtocolError(
            f"the client uses version {wanted.protocol} of the protocol, not {VERSION}"
        )
    if wanted.credit < LEAST_CREDIT or wanted.max_frame < LEAST_FRAME:
        return ProtocolError("the client's limits are too low")
    definition = definitions.get(wanted.uuid)
    if definition is None:
        return UnknownInterface(
            f"the server does not serve the interface {wanted.name:.64} ({wanted.uuid:.64})"
        )
    # A client with a higher minor version uses only the operations that the server's answer lists.
    if wanted.version[0] != definition.version[0]:
        return UnknownInterface(
            f"the server serves {definition}, which is incompatible with the client's version "
            f"{wanted.version[0]}.{wanted.version[1]}: the major versions differ"
        )
    return None
