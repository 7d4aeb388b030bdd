"""The decisions of both ends of a connection, the same for every driver. No I/O."""
