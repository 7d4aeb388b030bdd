"""The limits of the size of a message, the same for every framing."""

from __future__ import annotations

DEFAULT_MAX_SIZE = 16 * 2**20
# The largest size of a Python object.
_LARGEST = 2**63 - 1


def check_max_size(value: object) -> None:
    """Raises:
    TypeError: ``value`` is not an int.
    ValueError: it is less than 1 or above 2**63 - 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"max_size must be an int, not {value!r}")
    if not 1 <= value <= _LARGEST:
        raise ValueError(f"max_size must be 1 to 2**63 - 1 bytes, not {value}")
