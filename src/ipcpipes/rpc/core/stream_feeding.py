"""Sources and sinks of a client's streams: which ones are allowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..definition.streams import Stream

__all__ = ["check_given_for_stream"]


def check_given_for_stream(stream: Stream, given: Any) -> None:
    """Raises:
    TypeError: ``given`` cannot be a source or a sink for this stream.
    """
    if stream.into:
        # Text is an iterable of its characters, which is hardly meant.
        if isinstance(given, (str, bytes)) or not (
            isinstance(given, Iterable) or hasattr(given, "__aiter__")
        ):
            raise TypeError(
                f"the stream {stream.name} takes its values from an iterable or an async iterable, "
                f"not from {given!r}"
            )
    elif not (callable(given) or hasattr(given, "extend") or hasattr(given, "send")):
        raise TypeError(
            f"the values of the stream {stream.name} go into a list, a function or a channel, not "
            f"into {given!r}"
        )
