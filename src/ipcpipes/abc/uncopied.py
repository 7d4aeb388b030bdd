"""What cannot be copied or pickled, and what to do instead."""

from __future__ import annotations

from typing import ClassVar, NoReturn

__all__ = ["Uncopied"]


class Uncopied:
    """One end of something that is open. It belongs to this process, and two copies of it would get
    into each other's way; so it can neither be pickled (which is how ``multiprocessing`` passes
    arguments to a process that it spawns) nor copied.
    """

    _instead: ClassVar[str] = "pass its endpoint, and connect in the other process"

    def __reduce__(self) -> NoReturn:
        """Raises:
        TypeError: always; the text says what to do instead.
        """
        name = type(self).__name__.lstrip("_")
        raise TypeError(f"{name} objects cannot be pickled or copied; {self._instead}")
