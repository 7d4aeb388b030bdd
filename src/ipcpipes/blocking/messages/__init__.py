"""Messages without an event loop: channels over streams and over packets of the system."""
