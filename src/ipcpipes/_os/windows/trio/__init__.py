"""Windows, under trio."""
