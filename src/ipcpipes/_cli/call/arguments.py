"""Converts the words ``name=value`` to the arguments of a call."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import msgspec

from ...rpc.definition.describing import JsonKind
from ...rpc.definition.elements import Element
from ...rpc.definition.introspection import OperationDescription, ParameterDescription
from ...rpc.definition.operations import Operation, Pipe
from ..failure import Failure
from ..output import printable
from ..source import in_thread

__all__ = ["Arguments"]


class Arguments:
    """The arguments of one call.

    Lifetime: files that it opens are closed with ``files``.

    Attributes:
        values: the arguments of the call, by the names of the parameters. :meth:`read` adds the
            values that are the bytes of a file.
        returned: the number of bytes that have gone through the pipes, for the progress bar.
        total: the number of bytes that will go through the pipes, ``None`` if that is not known.
        uses_stdout: whether a pipe goes to standard output.

    Args:
        operation: the operation that is called.
        description: the server's description of the operation.
        words: ``name=value``, as on the command line.
        raw: whether elements go to standard output as they lie in memory, also numbers.

    Raises:
        Failure: the operation has no such argument, or a value is not of the right type.
        OSError: a file cannot be opened.
    """

    def __init__(
        self,
        operation: Operation,
        description: OperationDescription,
        words: Sequence[str],
        files: ExitStack,
        *,
        raw: bool,
    ) -> None:
        self.values: dict[str, Any] = {}
        self.returned = 0
        self.total: int | None = None
        self.uses_stdout = False
        self._uses_stdin = False
        self._unread: dict[str, IO[bytes]] = {}
        self._files = files
        self._raw = raw
        texts = _texts_by_name(operation, words)
        for pipe in operation.pipes:
            self.values[pipe.name] = self._pipe(pipe, texts.pop(pipe.name, None))
        described = {each.name: each for each in description.parameters}
        for name, text in texts.items():
            if described[name].takes_bytes and _names_file(text):
                self._unread[name] = self._open_input(text)
            else:
                self.values[name] = _value_of(described[name], text)

    async def read(self) -> None:
        """Reads the values that are the bytes of a file.

        Raises:
            OSError: a file cannot be read.
        """
        for name, file in self._unread.items():
            self.values[name] = await in_thread(file.read)

    def _pipe(self, pipe: Pipe, text: str | None) -> Any:
        if not pipe.out:
            return self._source(pipe, text)
        if not pipe.into:
            return self._sink(pipe, text)
        source, comma, sink = (text or "").rpartition(",")
        if comma:
            return self._source(pipe, source), self._sink(pipe, sink)
        return self._source(pipe, text), self._sink(pipe, None)

    def _source(self, pipe: Pipe, text: str | None) -> Any:
        """Returns a list of elements, or the function that reads the elements from a file."""
        if text is None:
            raise Failure(f"the pipe {pipe.name} needs a source: {pipe.name}=@FILE")
        if not _names_file(text):
            wanted = f"the pipe {pipe.name} takes @FILE, - or a JSON list"
            elements = _decode_json(wanted, text)
            if not isinstance(elements, list):
                raise Failure(f"{wanted}, not {text}")
            return elements
        if text != "-":
            self.total = (self.total or 0) + Path(text[1:]).stat().st_size
        source: Any = self._open_input(text)
        stride = pipe.element.stride

        def read(size: int) -> bytes:
            # read1 returns the bytes that are there: the rest may come much later.
            data: bytes = source.read1(size)
            rest = -len(data) % stride
            return data + source.read(rest) if rest else data

        async def pull(max_elements: int) -> bytes:
            data: bytes = await in_thread(read, max_elements * stride)
            if len(data) % stride:
                raise Failure(f"the input of {pipe.name} ends inside an element")
            self.returned += len(data)
            return data

        return pull

    def _open_input(self, text: str) -> IO[bytes]:
        """Opens the file that ``@FILE`` or ``-`` names."""
        if text != "-":
            return self._open(text, "rb")
        if sys.stdin is None:
            raise Failure("standard input is closed")
        if self._uses_stdin:
            raise Failure("only one argument can be read from standard input")
        self._uses_stdin = True
        return sys.stdin.buffer

    def _open(self, text: str, mode: str) -> IO[bytes]:
        """Opens the file that ``@FILE`` names."""
        return self._files.enter_context(Path(text[1:]).open(mode))

    def _sink(self, pipe: Pipe, text: str | None) -> Callable[..., Any]:
        """Returns the function that writes the elements to a file."""
        as_text = None
        if text is not None and text.startswith("@"):
            file = self._open(text, "wb")
        elif text not in (None, "-"):
            raise Failure(f"the pipe {pipe.name} goes to @FILE or -, not to {text}")
        elif sys.stdout is None:
            raise Failure("standard output is closed")
        else:
            self.uses_stdout = True
            file = sys.stdout.buffer
            if not self._raw:
                as_text = _text_of(pipe.element, is_terminal=sys.stdout.isatty())

        async def push(chunk: Any) -> None:
            octets = chunk.cast("B") if len(pipe.element.format) == 1 else chunk
            self.returned += len(octets)
            try:
                await in_thread(file.write, octets if as_text is None else as_text(chunk))
            except OSError as error:
                raise Failure(
                    f"cannot write what came through {pipe.name}: {error.strerror}"
                ) from None

        return push


def _names_file(text: str) -> bool:
    return text == "-" or text.startswith("@")


def _texts_by_name(operation: Operation, words: Sequence[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise Failure(f"{word} is not name=value")
        if name not in operation.parameters:
            takes = ", ".join(operation.parameters) or "nothing"
            raise Failure(f"{operation} has no parameter {name}; it takes {takes}")
        if name in texts:
            raise Failure(f"{name} is given twice")
        texts[name] = text
    return texts


def _value_of(parameter: ParameterDescription, text: str) -> Any:
    """Returns the value of JSON text. Returns the text itself if the parameter takes text, and the
    text is not JSON of another kind that the parameter takes.

    Raises:
        Failure: the text is not valid JSON, or the parameter takes only bytes.
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
    return _decode_json(wanted, text)


def _decode_json(wanted: str, text: str) -> Any:
    """The value of JSON text.

    Raises:
        Failure: the text is not valid JSON. The message names the position and what was ``wanted``.
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
            f"{wanted}, and {text} is not valid JSON: {_reason(error)}, at character {place}"
        ) from None


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


def _reason(error: msgspec.DecodeError) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    return "it ends too early" if "truncated" in text else text.partition(" (byte")[0]


def _text_of(element: Element, *, is_terminal: bool) -> Callable[[Any], bytes] | None:
    """Returns the function that converts a chunk to text: each number on its own line, and
    everything else escaped for a terminal. Returns ``None`` if the bytes stay as they are.
    """
    if len(element.format) == 1 and element.name != "byte":
        return lambda chunk: "".join(f"{item}\n" for item in chunk).encode()
    if not is_terminal:
        return None
    # A terminal would obey control characters from a server.
    decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def escaped(chunk: Any) -> bytes:
        text = decode(bytes(chunk))
        lines = ["\t".join(map(printable, line.split("\t"))) for line in text.split("\n")]
        return "\n".join(lines).encode(errors="backslashreplace")

    return escaped
