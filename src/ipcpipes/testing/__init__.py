"""Tools for your tests and those of ipcpipes: streams in memory, names for endpoints, and
conformance kits for channels and listeners.

For streams, use trio's own kits (:func:`trio.testing.check_two_way_stream` and similar functions);
every stream of ipcpipes passes them. None of this needs a test framework.
"""

from __future__ import annotations

from .channel import check_message_channel
from .listener import check_listener
from .memory import memory_stream_pair, unique_endpoint

__all__ = ["check_listener", "check_message_channel", "memory_stream_pair", "unique_endpoint"]
