"""No framing: the system keeps messages apart."""

from __future__ import annotations

from dataclasses import dataclass

from .limits import DEFAULT_MAX_SIZE, check_max_size


@dataclass(frozen=True)
class Native:
    """The system itself keeps the messages apart; both ends must ask for it.

    Windows: a message-type pipe (PIPE_TYPE_MESSAGE). Linux: a socket of sequenced packets
    (SOCK_SEQPACKET, unix(7)), where a message cannot be larger than the send buffer of the socket
    less 32 bytes (ask for more with ``buffer_size``; up to net.core.wmem_max). macOS has
    neither: :exc:`ipcpipes.NotSupported`.

    ``NATIVE`` is an instance with the default limit.

    Attributes:
        max_size: the largest message in bytes, 1 to 2**63 - 1, for sending and receiving.

    Raises:
        TypeError, ValueError: ``max_size`` is not an int, or is out of range.
    """

    max_size: int = DEFAULT_MAX_SIZE

    def __post_init__(self) -> None:
        check_max_size(self.max_size)


NATIVE = Native()
"""Native message mode with the default limit of 16 MiB."""
