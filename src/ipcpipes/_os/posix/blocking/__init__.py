"""POSIX, without an event loop."""
