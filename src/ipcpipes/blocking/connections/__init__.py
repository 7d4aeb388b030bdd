"""From an endpoint to a stream without an event loop."""
