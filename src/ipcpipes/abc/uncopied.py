"""The base of objects that cannot be copied or pickled."""

from __future__ import annotations

from typing import ClassVar, NoReturn

__all__ = ["Uncopied"]


class Uncopied:
    """The base of open objects such as connections and listeners. They belong to this process, and
    two copies would disturb each other, so they can neither be copied nor pickled.
    (``multiprocessing`` pickles the arguments of a process that it spawns.)
    """

    _instead: ClassVar[str] = "pass its endpoint, and connect in the other process"

    def __reduce__(self) -> NoReturn:
        """Raises:
        TypeError: always; the text says what to do instead.
        """
        name = type(self).__name__.lstrip("_")
        raise TypeError(f"{name} objects cannot be pickled or copied; {self._instead}")
