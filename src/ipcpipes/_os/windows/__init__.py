"""Windows: named and anonymous pipes. The files have the names of their twins in ``posix``."""
