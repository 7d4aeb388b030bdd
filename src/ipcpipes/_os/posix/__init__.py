"""POSIX: sockets and pipes. The files have the names of their twins in ``windows``."""
