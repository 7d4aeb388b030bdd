"""From ``name=value`` to what a call takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import msgspec
import trio

from .._echo.failure import Failure
from ..rpc.definition import Operation, Pipe

__all__ = ["Given", "Traffic"]

_PIECE = 256 * 1024


class Traffic:
    """How many bytes have gone through the pipes, for the progress bar."""

    def __init__(self) -> None:
        self.returned = 0


class Given:
    """The arguments of one call.

    Lifetime: files that it opens are closed with ``files``.

    Attributes:
        values: the arguments that are no pipes.
        total: bytes that will go through the pipes, ``None`` where that is not known.
        uses_stdout: whether a pipe goes to standard output.

    Raises:
        Failure: one of them is none of the operation's, or cannot be what it should be.
        OSError: a file cannot be opened.
    """

    def __init__(self, operation: Operation, arguments: Sequence[str], files: ExitStack) -> None:
        self.values: dict[str, Any] = {}
        self.total: int | None = None
        self.uses_stdout = False
        self._files = files
        self._feeds: list[tuple[Pipe, Any, IO[bytes] | None]] = []
        texts = _texts(operation, arguments)
        for pipe in operation.pipes:
            self._open(pipe, texts.pop(pipe.name, None))
        self.values = {name: _value(text) for name, text in texts.items()}

    def _open(self, pipe: Pipe, text: str | None) -> None:
        into, out = text, text
        if pipe.into and pipe.out and text is not None:
            into, comma, out = text.rpartition(",")
            if not comma:
                into, out = out, None
        source = self._source(pipe, into) if pipe.into else None
        sink = self._sink(pipe, out) if pipe.out else None
        self._feeds.append((pipe, source, sink))

    def _source(self, pipe: Pipe, text: str | None) -> Any:
        if text is None:
            raise Failure(
                f"the pipe {pipe.name} needs something to be filled from: {pipe.name}=@FILE"
            )
        if text == "-":
            if sys.stdin is None:
                raise Failure("standard input is closed")
            return sys.stdin.buffer
        if text.startswith("@"):
            path = Path(text[1:])
            self.total = (self.total or 0) + path.stat().st_size
            return self._files.enter_context(path.open("rb"))
        elements = _value(text)
        if not isinstance(elements, list):
            raise Failure(f"the pipe {pipe.name} takes @FILE, - or a JSON list, not {text}")
        return elements

    def _sink(self, pipe: Pipe, text: str | None) -> IO[bytes] | None:
        if text is not None and text.startswith("@"):
            return self._files.enter_context(Path(text[1:]).open("wb"))
        if text not in (None, "-"):
            raise Failure(f"the pipe {pipe.name} goes to @FILE or -, not to {text}")
        if sys.stdout is None:
            raise Failure("standard output is closed")
        self.uses_stdout = True
        return None

    def pipes(self, traffic: Traffic) -> dict[str, Any]:
        """What the call takes for its pipes."""
        given: dict[str, Any] = {}
        for pipe, source, sink in self._feeds:
            filling = _counted(source, pipe, traffic) if pipe.into else None
            emptying = _pushed(sink, pipe, traffic) if pipe.out else None
            if pipe.into and pipe.out:
                given[pipe.name] = (filling, emptying)
            else:
                given[pipe.name] = filling if pipe.into else emptying
        return given


def _texts(operation: Operation, arguments: Sequence[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals:
            raise Failure(f"{argument} is no name=value")
        if name not in operation.parameters:
            takes = ", ".join(operation.parameters) or "nothing"
            raise Failure(f"{operation} has no parameter {name}; it takes {takes}")
        if name in texts:
            raise Failure(f"{name} is given twice")
        texts[name] = text
    return texts


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _counted(source: Any, pipe: Pipe, traffic: Traffic) -> Any:
    if isinstance(source, list):
        return source
    stride = pipe.element.stride
    step = max(_PIECE // stride, 1) * stride

    def read(size: int) -> bytes:
        # What is there goes out at once: more may come only in an hour.
        data: bytes = source.read1(size)
        rest = -len(data) % stride
        return data + source.read(rest) if rest else data

    async def pull(max_elements: int) -> bytes:
        size = min(step, max_elements * stride)
        # A pipe or a terminal has no file's patience; and it is given up with the process.
        data = await trio.to_thread.run_sync(read, size, abandon_on_cancel=True)
        if len(data) % stride:
            raise Failure(f"the input of {pipe.name} ends inside an element")
        traffic.returned += len(data)
        return data

    return pull


def _pushed(sink: IO[bytes] | None, pipe: Pipe, traffic: Traffic) -> Callable[[Any], Any]:
    as_bytes = sink is not None or pipe.element.name in ("byte", "uint8")
    file = sys.stdout.buffer if sink is None else sink

    async def push(chunk: Any) -> None:
        octets = chunk.cast("B") if len(pipe.element.format) == 1 else chunk
        traffic.returned += len(octets)
        if as_bytes or len(pipe.element.format) > 1:
            data: Any = octets
        else:
            data = "".join(f"{item}\n" for item in chunk).encode()
        try:
            await trio.to_thread.run_sync(file.write, data, abandon_on_cancel=True)
        except OSError as error:
            raise Failure(f"cannot write what came through {pipe.name}: {error.strerror}") from None

    return push
