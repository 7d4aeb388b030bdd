"""Which errors are the system's; the same on every system."""

from __future__ import annotations

__all__ = ["require_system_error"]


def require_system_error(error: OSError) -> None:
    """Raises the error again where a signal handler has raised it and not the system: the
    ``TimeoutError`` of an alarm has no ``errno``, and is not to be translated.
    """
    if error.errno is None:
        raise error
