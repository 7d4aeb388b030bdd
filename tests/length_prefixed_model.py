"""A second implementation of LengthPrefixed, in a few lines of plain Python, for comparison with
the C code. It takes the whole stream at once and does not avoid copies.
"""

from __future__ import annotations

from collections.abc import Sequence

from ipcpipes.errors import IncompleteMessage, MessageTooLarge
from ipcpipes.framing import Buffer, LengthPrefixed


def joined(framing: LengthPrefixed, messages: Sequence[Buffer]) -> bytes:
    return b"".join(
        len(message).to_bytes(framing.width, framing.byteorder) + message for message in messages
    )


def split(
    framing: LengthPrefixed, data: bytes
) -> tuple[list[bytes], MessageTooLarge | IncompleteMessage | None]:
    """Returns the messages in a whole stream, and the fault that it ended with, if any."""
    messages: list[bytes] = []
    while data:
        body = data[framing.width :]
        if len(data) < framing.width:
            return messages, IncompleteMessage(len(data))
        size = int.from_bytes(data[: framing.width], framing.byteorder)
        if size > framing.max_size:
            return messages, MessageTooLarge(size, framing.max_size)
        if len(body) < size:
            return messages, IncompleteMessage(len(data), framing.width + size)
        messages.append(body[:size])
        data = body[size:]
    return messages, None
