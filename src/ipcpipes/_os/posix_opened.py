"""POSIX: descriptors between the call that opens them and what will own them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain, starmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Opened"]

_pop = list.pop
_is_descriptor = (-1).__lt__


class Opened:
    """Numbers that are to be closed, unless what owns them has taken them out.

    An exception of a signal handler can come whenever a call has returned, and a number that is
    nowhere but in the result of that call is lost. So the call is made by the step that keeps
    its result here; and a number leaves by the step that closes it, or by the one that puts it
    where it is owned, so that it is closed once. What is left is closed at the end of the
    ``with`` block, and by the finalizer when not even that was reached.

    Args:
        numbers: descriptors that are open already.
    """

    def __init__(self, *numbers: int) -> None:
        # Results of failed calls (-errno) may be among them.
        self.numbers = list(numbers)

    @property
    def number(self) -> int:
        """The last one; -1 for none. It stays here."""
        return self.numbers[-1] if self.numbers else -1

    def open(self, function: Callable[..., int], *arguments: object) -> int:
        """Calls a function of C, and keeps the descriptor that it returns.

        Returns:
            the descriptor, or ``-errno``, which is not kept.
        """
        self.numbers.extend(map(function, *zip(arguments)))
        result = self.numbers[-1]
        if result < 0:
            del self.numbers[-1]
        return result

    def open_pipe(self) -> None:
        """The same with :func:`os.pipe`: the receive end comes before the send end."""
        self.numbers.extend(chain.from_iterable(starmap(os.pipe, ((),))))

    def handed_over(self) -> Iterator[int]:
        """The last number, which is taken out when this is unpacked, and not before:
        ``(self._fd,) = opened.handed_over()`` is one step.
        """
        return map(_pop, (self.numbers,))

    def close(self) -> None:
        """Closes all that is left. Twice is as good as once."""
        taken = map(_pop, [self.numbers] * len(self.numbers))
        any(map(os.close, filter(_is_descriptor, taken)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "numbers", None):
            self.close()
