"""The part of a test framework that the kits need, so that their users do not need one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


class Caught:
    """Has the raised exception, after the block."""

    error: BaseException


@contextmanager
def raises(kind: type[BaseException]) -> Generator[Caught, None, None]:
    caught = Caught()
    try:
        yield caught
    except kind as error:
        caught.error = error
        return
    raise AssertionError(f"{kind.__name__} was not raised")
