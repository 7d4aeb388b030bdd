"""Descriptors and handles between the call that opens them and the object that will own them; the
same on every system.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import starmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["OpenNumbers"]

_pop = list.pop
_is_open = (-1).__lt__


class OpenNumbers:
    """Descriptors or handles that are closed unless an owner takes them out.

    A signal handler can raise whenever a call has returned, and then the result of that call is
    lost. So one step makes the call and stores its result here. Another single step removes a
    number and closes it, or removes it and stores it in its owner. So each number is closed exactly
    once. Numbers that are left are closed at the end of the ``with`` block, and by the finalizer if
    an exception comes before that.

    Args:
        numbers: descriptors or handles that are open already.
    """

    __slots__ = ("numbers",)

    # The function that closes a number. It is a C function, because the interpreter can run a
    # signal handler at the beginning of a Python function, when the number has already been
    # removed.
    _close_number: Callable[[int], object]

    def __init__(self, *numbers: int) -> None:
        # For a moment, the list can also contain the negative result of a failed call.
        self.numbers = [*numbers]

    @property
    def number(self) -> int:
        """The last number, which stays here; -1 if there is no number."""
        return self.numbers[-1] if self.numbers else -1

    def open(self, function: Callable[..., int], *arguments: object) -> int:
        """Calls a C function, and keeps the number that it returns.

        Returns:
            the number; or the negative result of a call that has failed, which is not kept.
        """
        self.numbers.extend(starmap(function, (arguments,)))
        result = self.numbers[-1]
        if result < 0:
            del self.numbers[-1]
        return result

    def handed_over(self) -> Iterator[int]:
        """Returns an iterator over the last number. Unpacking the iterator removes the number, so
        ``(self._fd,) = descriptors.handed_over()`` is one step.
        """
        return map(_pop, (self.numbers,))

    def move_last_to(self, other: OpenNumbers) -> None:
        """Moves the last number to another owner, in one step."""
        other.numbers.extend(self.handed_over())

    def close(self) -> None:
        """Closes all numbers that are left. Idempotent."""
        taken = map(_pop, [self.numbers] * len(self.numbers))
        deque(map(self._close_number, filter(_is_open, taken)), maxlen=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.numbers:
            self.close()

    def __del__(self) -> None:
        # The attribute is missing if a signal handler has raised at the beginning of __init__.
        if getattr(self, "numbers", None):
            self.close()
