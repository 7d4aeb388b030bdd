"""Windows, without an event loop."""
