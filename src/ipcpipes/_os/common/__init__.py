"""Parts that are the same on every system."""
