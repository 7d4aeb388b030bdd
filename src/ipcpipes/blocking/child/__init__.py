"""Parent and child without an event loop."""
