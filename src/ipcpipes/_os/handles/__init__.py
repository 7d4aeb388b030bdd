"""Descriptors and handles that travel with messages; the same on every system."""
