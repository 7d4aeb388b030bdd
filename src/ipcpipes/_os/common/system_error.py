"""Errors of the system, as opposed to those of signal handlers."""

from __future__ import annotations

__all__ = ["require_system_error"]


def require_system_error(error: OSError) -> None:
    """Raises the error again if a signal handler and not the system has raised it: the
    ``TimeoutError`` of an alarm has no ``errno``, and must not be translated.
    """
    if error.errno is None:
        raise error
