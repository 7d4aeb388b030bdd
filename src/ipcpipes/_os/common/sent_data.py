"""What may be sent."""

from __future__ import annotations

from typing import TypeVar

DataT = TypeVar("DataT")


def not_text(data: DataT) -> DataT:
    """Returns ``data``. The error of cffi for text would not say what to do.

    Raises:
        TypeError: ``data`` is a str.
    """
    if isinstance(data, str):
        raise TypeError("send_all takes bytes, not str; encode it")
    return data
