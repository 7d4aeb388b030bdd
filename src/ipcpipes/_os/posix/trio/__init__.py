"""POSIX, under trio."""
