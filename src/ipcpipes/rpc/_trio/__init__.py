"""The trio driver of remote calls. The files have the names of their twins in ``blocking``."""
