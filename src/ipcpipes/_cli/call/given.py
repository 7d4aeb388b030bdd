"""From ``name=value`` to what a call takes."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import msgspec
import trio

from ...rpc.definition.describing import JsonKind
from ...rpc.definition.elements import Element
from ...rpc.definition.introspection import OperationDescription, ParameterDescription
from ...rpc.definition.operations import Operation, Pipe
from ..failure import Failure
from ..output import printable

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
        values: the arguments that are no pipes; bytes among them once :meth:`read` has returned.
        total: bytes that will go through the pipes, ``None`` where that is not known.
        uses_stdout: whether a pipe goes to standard output.

    Args:
        operation: what is called, and what the server says of it (``description``).
        arguments: ``name=value``, as on the command line.
        raw: elements go to standard output as they lie in memory, also numbers.

    Raises:
        Failure: the operation has no such argument, or a value is not of the right type.
        OSError: a file cannot be opened.
    """

    def __init__(
        self,
        operation: Operation,
        description: OperationDescription,
        arguments: Sequence[str],
        files: ExitStack,
        *,
        raw: bool = False,
    ) -> None:
        self.values: dict[str, Any] = {}
        self.total: int | None = None
        self.uses_stdout = False
        self._uses_stdin = False
        self._unread: dict[str, IO[bytes]] = {}
        self._files = files
        self._raw = raw
        self._feeds: list[tuple[Pipe, Any, IO[bytes] | None]] = []
        texts = _texts(operation, arguments)
        for pipe in operation.pipes:
            self._open(pipe, texts.pop(pipe.name, None))
        described = {each.name: each for each in description.parameters}
        for name, text in texts.items():
            if described[name].takes_bytes and (text == "-" or text.startswith("@")):
                self._unread[name] = self._input(text)
            else:
                self.values[name] = _value(described[name], text)

    async def read(self) -> None:
        """Reads the values that are the bytes of a file.

        Raises:
            OSError: a file cannot be read.
        """
        for name, file in self._unread.items():
            # A pipe or a terminal may never end; and it is given up with the process.
            self.values[name] = await trio.to_thread.run_sync(file.read, abandon_on_cancel=True)

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
        if text.startswith("@"):
            self.total = (self.total or 0) + Path(text[1:]).stat().st_size
        if text == "-" or text.startswith("@"):
            return self._input(text)
        elements = _json(f"the pipe {pipe.name} takes @FILE, - or a JSON list", text)
        if not isinstance(elements, list):
            raise Failure(f"the pipe {pipe.name} takes @FILE, - or a JSON list, not {text}")
        return elements

    def _input(self, text: str) -> IO[bytes]:
        """What ``@FILE`` or ``-`` names."""
        if text != "-":
            return self._files.enter_context(Path(text[1:]).open("rb"))
        if sys.stdin is None:
            raise Failure("standard input is closed")
        if self._uses_stdin:
            raise Failure("only one argument can be read from standard input")
        self._uses_stdin = True
        return sys.stdin.buffer

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
            emptying = self._pushed(sink, pipe, traffic) if pipe.out else None
            if pipe.into and pipe.out:
                given[pipe.name] = (filling, emptying)
            else:
                given[pipe.name] = filling if pipe.into else emptying
        return given

    def _pushed(self, sink: IO[bytes] | None, pipe: Pipe, traffic: Traffic) -> Callable[..., Any]:
        """Writes bytes, structures, and everything for a file as it is; numbers as text."""
        file = sys.stdout.buffer if sink is None else sink
        as_text = None
        if sink is None and not self._raw:
            as_text = _text_of(pipe.element, is_terminal=sys.stdout.isatty())

        async def push(chunk: Any) -> None:
            octets = chunk.cast("B") if len(pipe.element.format) == 1 else chunk
            traffic.returned += len(octets)
            data = octets if as_text is None else as_text(chunk)
            try:
                await trio.to_thread.run_sync(file.write, data, abandon_on_cancel=True)
            except OSError as error:
                raise Failure(
                    f"cannot write what came through {pipe.name}: {error.strerror}"
                ) from None

        return push


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


def _value(parameter: ParameterDescription, text: str) -> Any:
    """The value of JSON text. It is the text itself if the parameter takes text, and the text is
    not JSON of another kind that the parameter takes.
    """
    name = parameter.name
    wanted = f"{name} is {parameter.type}"
    if parameter.takes_bytes:
        wanted = f"{wanted} ({name}=@FILE, or {name}=- for standard input)"
        if not parameter.json:
            raise Failure(f"{wanted}, not {text}")
    # A server of an older version sends only the type.
    takes: Sequence[str] = parameter.json or (["string"] if parameter.type == "str" else [])
    takes_text = "string" in takes
    if takes_text or (not takes and not text.startswith(("[", "{", '"'))):
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
        return text if takes_text and _kind(value) not in takes else value
    return _json(wanted, text)


def _kind(value: Any) -> JsonKind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _json(wanted: str, text: str) -> Any:
    """Raises:
    Failure: ``text`` is not valid JSON. The message names the position and what was ``wanted``.
    """
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        found = re.search(r"\(byte (\d+)\)", str(error))
        # If the text ends too early, the error names no byte.
        octets = text.encode(errors="surrogatepass")
        before = octets[: int(found[1]) if found else len(octets)]
        place = len(before.decode(errors="replace")) + 1
        raise Failure(
            f"{wanted}, and {text} is not valid JSON: {_why(error)}, at character {place}"
        ) from None


def _why(error: msgspec.DecodeError) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    return "it ends too early" if "truncated" in text else text.partition(" (byte")[0]


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


def _text_of(element: Element, *, is_terminal: bool) -> Callable[[Any], bytes] | None:
    """What makes of a chunk what is shown; ``None`` where bytes go as they are."""
    if len(element.format) == 1 and element.name != "byte":
        return lambda chunk: "".join(f"{item}\n" for item in chunk).encode()
    if not is_terminal:
        return None
    # A terminal would obey control characters from a server.
    decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def shown(chunk: Any) -> bytes:
        text = decode(bytes(chunk))
        lines = ["\t".join(map(printable, line.split("\t"))) for line in text.split("\n")]
        return "\n".join(lines).encode(errors="backslashreplace")

    return shown
