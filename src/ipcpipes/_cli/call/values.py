"""From the text of an argument to its value. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ...rpc.definition.describing import JsonKind
from ...rpc.definition.introspection import ParameterDescription
from ..failure import Failure

__all__ = ["decode_json", "value_of"]


def value_of(parameter: ParameterDescription, text: str) -> Any:
    """The value of JSON text. It is the text itself if the parameter takes text, and the text is
    not JSON of another kind that the parameter takes.

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
    return decode_json(wanted, text)


def decode_json(wanted: str, text: str) -> Any:
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
