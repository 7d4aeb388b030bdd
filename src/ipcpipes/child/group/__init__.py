"""A group: one master process and its worker processes, under trio."""
