"""Converts the words ``name=value`` to the arguments of a call."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from ...rpc.definition.describing import JsonKind
from ...rpc.definition.introspection import OperationDescription, ParameterDescription
from ...rpc.definition.operations import Operation, Pipe
from ...rpc.definition.streams import Stream
from ..failure import Failure
from ..output import write_all, write_bytes
from ..source import in_thread
from .elements import pack_json, text_of
from .values import values_in, values_of, write_value

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
        raw: whether elements go to standard output as they lie in memory.

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
        raw: bool,
    ) -> None:
        self.values: dict[str, Any] = {}
        self.returned = 0
        self.total: int | None = None
        self.uses_stdout = False
        self._uses_stdin = False
        self._unread: dict[str, FileIO] = {}
        self._files = files
        self._raw = raw
        texts = _texts_by_name(operation, words)
        for pipe in operation.pipes:
            self.values[pipe.name] = self._pipe(pipe, texts.pop(pipe.name, None))
        for flow in operation.flows.values():
            if isinstance(flow, Stream):
                self.values[flow.name] = self._stream(flow, texts.pop(flow.name, None))
        described = {each.name: each for each in description.parameters}
        for name, text in texts.items():
            if described[name].takes_bytes and _names_file(text):
                self._unread[name] = self._open_input(text)
            else:
                self.values[name] = _value_of(described[name], text)

    async def read(self) -> None:
        """Reads the values that are the bytes of a file.

        Raises:
            Failure: a file cannot be read.
        """
        for name, file in self._unread.items():
            self.values[name] = await _read(name, file.readall)

    def _stream(self, stream: Stream, text: str | None) -> Any:
        if not stream.into:
            write = self._output(f"the stream {stream.name}", text)
            return partial(write_value, stream.name, write)
        if text is None:
            raise Failure(f"the stream {stream.name} needs its values: {stream.name}=@FILE")
        if _names_file(text):
            return values_in(stream.name, self._open_input(text))
        return values_of(stream.name, text)

    def _pipe(self, pipe: Pipe, text: str | None) -> Any:
        if not pipe.out:
            return self._source(pipe, text)
        if not pipe.into:
            return self._sink(pipe, text)
        source, sink = _source_and_sink(text)
        return self._source(pipe, source), self._sink(pipe, sink)

    def _source(self, pipe: Pipe, text: str | None) -> Any:
        """Returns the elements of a JSON list, or the function that reads them from a file."""
        if text is None:
            raise Failure(f"the pipe {pipe.name} needs a source: {pipe.name}=@FILE")
        if not _names_file(text):
            return _elements_of(pipe, text)
        if text != "-":
            self.total = (self.total or 0) + Path(text[1:]).stat().st_size
        source = self._open_input(text)
        stride = pipe.element.stride

        async def pull(max_elements: int) -> bytes:
            data = await _read(pipe.name, _read_elements, source, stride, max_elements)
            if len(data) % stride:
                raise Failure(f"the input of {pipe.name} ends inside an element")
            self.returned += len(data)
            return data

        return pull

    def _open_input(self, text: str) -> FileIO:
        """Opens the file that ``@FILE`` or ``-`` names, without a buffer: after Ctrl-C, a thread
        that waits in a buffer would keep the interpreter from its exit.
        """
        if text != "-":
            return self._files.enter_context(FileIO(Path(text[1:])))
        if sys.stdin is None:
            raise Failure("standard input is closed")
        if self._uses_stdin:
            raise Failure("only one argument can be read from standard input")
        self._uses_stdin = True
        return FileIO(sys.stdin.fileno(), closefd=False)

    def _sink(self, pipe: Pipe, text: str | None) -> Callable[..., Any]:
        """Returns the function that writes the elements to a file."""
        as_text = None
        write = self._output(f"the pipe {pipe.name}", text)
        if write is write_bytes and not self._raw:
            as_text = text_of(pipe.element, is_terminal=sys.stdout.isatty())

        async def push(chunk: Any) -> None:
            data = bytes(chunk)
            self.returned += len(data)
            try:
                await in_thread(write, data if as_text is None else as_text(chunk))
            except OSError as error:
                raise Failure(
                    f"cannot write what came through {pipe.name}: {error.strerror}"
                ) from None

        return push

    def _output(self, what: str, text: str | None) -> Callable[[bytes], None]:
        """Returns the function that writes bytes to ``@FILE``, or to standard output."""
        if text is not None and text.startswith("@"):
            # Closing a file with a buffer could fail, where the name of the pipe is not known.
            file = self._files.enter_context(FileIO(Path(text[1:]), "w"))
            return partial(write_all, file)
        if text not in (None, "-"):
            raise Failure(f"{what} goes to @FILE or -, not to {text}")
        if sys.stdout is None:
            raise Failure("standard output is closed")
        self.uses_stdout = True
        return write_bytes


def _names_file(text: str) -> bool:
    return text == "-" or text.startswith("@")


def _source_and_sink(text: str | None) -> tuple[str | None, str | None]:
    """Splits ``SOURCE,SINK`` at the last comma. The sink is ``None`` if it is not given: the last
    comma can belong to a JSON list.
    """
    source, comma, sink = (text or "").rpartition(",")
    in_list = source.lstrip().startswith("[") and not _names_file(sink)
    return (source, sink) if comma and not in_list else (text, None)


def _elements_of(pipe: Pipe, text: str) -> bytes:
    """Returns the elements of a JSON list, as they lie in memory.

    Raises:
        Failure: the text is not a JSON list, or a value is not an element of the pipe.
    """
    wanted = f"the pipe {pipe.name} takes @FILE, - or a JSON list"
    if pipe.out:
        wanted = (
            f"the pipe {pipe.name} is in both directions ({pipe.name}=SOURCE,SINK), and its "
            "source is @FILE, - or a JSON list"
        )
    values = _decode_json(wanted, text)
    if not isinstance(values, list):
        raise Failure(f"{wanted}, not {text}")
    return pack_json(pipe, values)


async def _read(name: str, read: Callable[..., bytes | None], *arguments: Any) -> bytes:
    try:
        data: bytes | None = await in_thread(read, *arguments)
    except OSError as error:
        raise Failure(f"cannot read the input of {name}: {error.strerror}") from None
    if data is None:
        raise Failure(f"cannot read the input of {name}: another process has set O_NONBLOCK")
    return data


def _read_elements(file: FileIO, stride: int, max_elements: int) -> bytes | None:
    """Reads the elements that are there: the next ones may come much later. Returns ``b""`` at the
    end, a part of an element if the file ends inside it, and ``None`` if the file cannot be waited
    for.
    """
    data = file.read(max_elements * stride)
    while data and (rest := -len(data) % stride):
        more = file.read(rest)
        if more is None:
            return None
        if not more:
            break
        data += more
    return data


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
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return text
        return text if takes_text and _kind(value) not in takes else value
    return _decode_json(wanted, text)


def _decode_json(wanted: str, text: str) -> Any:
    """The value of JSON text.

    Raises:
        Failure: the text is not valid JSON, or has too many levels. The message names the position
            and what was ``wanted``.
    """
    try:
        return msgspec.json.decode(text)
    except UnicodeEncodeError:  # from bytes of the command line that are not text
        raise Failure(f"{wanted}, and {text} is not valid Unicode") from None
    except RecursionError:
        raise Failure(f"{wanted}, and the JSON has too many levels") from None
    except msgspec.DecodeError as error:
        found = re.search(r"\(byte (\d+)\)", str(error))
        # If the text ends too early, the error names no byte.
        octets = text.encode()
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
