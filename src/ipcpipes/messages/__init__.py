"""Messages under trio: channels over streams and over packets of the system."""
