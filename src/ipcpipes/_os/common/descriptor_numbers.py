"""The descriptors or handles that a caller wants to send, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...abc import MOST_DESCRIPTORS, HasFileno


def descriptor_numbers(
    descriptors: Sequence[int | HasFileno], number_of: Callable[[HasFileno], int], largest: int
) -> list[int]:
    """Returns the numbers of ``descriptors``, in order.

    Args:
        number_of: returns the number of an object with ``fileno()``.
        largest: the largest number that the system uses.

    Raises:
        TypeError, ValueError: they are not a sequence of 1 to 253 ints, 0 or more, and objects
            with ``fileno()``.
        And what ``number_of`` raises.
    """
    if isinstance(descriptors, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"descriptors must be a sequence of them, not {type(descriptors).__name__}")
    numbers = [_number(descriptor, number_of, largest) for descriptor in descriptors]
    if not 1 <= len(numbers) <= MOST_DESCRIPTORS:
        raise ValueError(
            f"1 to {MOST_DESCRIPTORS} descriptors can be sent at once, not {len(numbers)}"
        )
    return numbers


def _number(
    descriptor: int | HasFileno, number_of: Callable[[HasFileno], int], largest: int
) -> int:
    number = descriptor if isinstance(descriptor, int) else None
    if hasattr(descriptor, "fileno"):
        number = number_of(descriptor)
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"a descriptor is an int or has fileno(), not {descriptor!r}")
    if not 0 <= number <= largest:
        raise ValueError(f"a descriptor is 0 or more, not {number}")
    return number
