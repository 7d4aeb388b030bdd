"""A master process and its worker processes."""
