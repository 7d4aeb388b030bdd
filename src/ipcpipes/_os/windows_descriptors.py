"""Windows: why no handles travel over a named pipe; methods of its streams.

A pipe carries bytes only. A handle gets into another process by DuplicateHandle, and its number
then has to be told, in the bytes:

* The sender can duplicate into the receiver's process. The receiver then believes a number, and a
  hostile sender would name handles that the receiver has already (a confused deputy reads,
  writes or closes them for it). Nor does anybody close what a receiver never asks for.
* The receiver can duplicate out of the sender's process, as :mod:`multiprocessing` does; then a
  number means only what the sender has itself. But the receiver has to know which process that is.
  The pid that a pipe tells can be that of a process which has ended, or of one that made the
  pipe's end and gave it away; the handles of an innocent process would be fetched. And the sender
  has to keep its handles open, for it does not learn when they were fetched.

Either way the numbers go among the bytes, where a receiver cannot tell them from what
``send_all`` sent, and one that does not look takes them for data. So nothing here could keep what
the contract promises, and the caller is told, and what can be done instead.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from ..abc import MOST_DESCRIPTORS, HasFileno
from ..errors import NotSupported

assert sys.platform == "win32" or not TYPE_CHECKING


def refuse() -> NoReturn:
    """Raises: there is no such thing here."""
    raise NotSupported(
        "a Windows pipe carries no handles; send the name of a file or endpoint, which the other "
        "end opens, or start it as a child that inherits them (open_child)"
    )


async def send_descriptors(
    self: object, data: bytes | bytearray | memoryview, descriptors: Sequence[int | HasFileno]
) -> None:
    refuse()


async def receive_descriptors(
    self: object, max_bytes: int | None = None, max_descriptors: int = MOST_DESCRIPTORS
) -> tuple[bytes, list[int]]:
    refuse()


def send_descriptors_blocking(
    self: object,
    data: bytes | bytearray | memoryview,
    descriptors: Sequence[int | HasFileno],
    *,
    timeout: float | None = None,
) -> None:
    refuse()


def receive_descriptors_blocking(
    self: object,
    max_bytes: int | None = None,
    max_descriptors: int = MOST_DESCRIPTORS,
    *,
    timeout: float | None = None,
) -> tuple[bytes, list[int]]:
    refuse()
