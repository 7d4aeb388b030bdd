"""What is the same on every system."""
