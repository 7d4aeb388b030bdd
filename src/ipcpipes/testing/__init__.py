"""For the tests of ipcpipes, and for yours: memory streams, endpoint names, conformance kits.

For streams, use trio's own kits (:func:`trio.testing.check_two_way_stream` and its
relatives); every stream of ipcpipes passes them. No test framework is needed for any of it.
"""

from __future__ import annotations

from .channel import check_message_channel
from .listener import check_listener
from .memory import memory_stream_pair, unique_endpoint

__all__ = ["check_listener", "check_message_channel", "memory_stream_pair", "unique_endpoint"]
