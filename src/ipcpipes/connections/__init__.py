"""From an endpoint to a stream under trio: connect, listen, serve."""
