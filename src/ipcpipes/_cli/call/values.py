"""The values of streams: from lines of JSON, and to lines of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from io import FileIO
from typing import Any

import msgspec

from ..failure import Failure
from ..source import CHUNK, in_thread

__all__ = ["line_of", "printable_json", "values_in", "values_of", "write_value"]


def values_of(name: str, text: str) -> list[Any]:
    """Returns the values of a JSON list.

    Raises:
        Failure: the text is not a JSON list.
    """
    try:
        values = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list):
        raise Failure(f"the stream {name} takes @FILE, - or a JSON list, not {text}")
    return values


async def values_in(name: str, file: FileIO) -> AsyncIterator[Any]:
    """Yields the values in a file that has one value of JSON in each line. A line is passed on as
    soon as it is there: the next one may come much later.

    Raises:
        Failure: the file cannot be read, or a line is not JSON.
    """
    number = 0
    rest = b""
    while True:
        try:
            data = await in_thread(file.read, CHUNK)
        except OSError as error:
            raise Failure(f"cannot read the input of {name}: {error.strerror}") from None
        if data is None:
            raise Failure(f"cannot read the input of {name}: another process has set O_NONBLOCK")
        *lines, rest = (rest + data).split(b"\n")
        if not data:
            lines.append(rest)
        for line in lines:
            number += 1
            if line.strip():
                yield _decoded(name, number, line)
        if not data:
            return


def _decoded(name: str, number: int, line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:
        raise Failure(f"line {number} of the input of {name} is not JSON: {error}") from None


async def write_value(name: str, write: Callable[[bytes], None], value: Any) -> None:
    """Writes a value as a line of JSON.

    Raises:
        Failure: it cannot be written.
    """
    try:
        await in_thread(write, line_of(value))
    except OSError as error:
        raise Failure(f"cannot write what came through {name}: {error.strerror}") from None


def line_of(value: Any) -> bytes:
    return printable_json(value).encode() + b"\n"


def printable_json(value: Any) -> str:
    """Returns JSON in which control characters are escaped in the way of JSON."""
    text = msgspec.json.encode(value, enc_hook=repr).decode()
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
