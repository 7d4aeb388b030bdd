"""Makes Markdown of a docstring.

The docstrings are written for an editor, with the roles of Sphinx. The site needs links of Markdown
instead, and one entry for each parameter and each error.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from .public_names import external_url, public_path

__all__ = ["as_markdown"]

_DOCUMENTS = Path(__file__).parent.parent / "docs"
_log = logging.getLogger("griffe.ipcpipes")

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`(~?)([\w.]+)`")
_SECTION = re.compile(r"(Args|Raises|Returns|Yields|Attributes):$")
_ENTRY = re.compile(r"(    )([\w.*]+(?:, [\w.*]+)*)(: .*)$")
_EXAMPLE = re.compile(r"^>>> .*\n(?:(?:\.\.\.|>>>).*(?:\n|$))*", re.MULTILINE)
_AND = re.compile(r"^And (also )?(\w)")
_DOCUMENT = re.compile(r"docs/([\w/-]+\.md)")
_TROUBLESHOOTING = re.compile(r"Cause and cure: docs/(troubleshooting\.md#[\w-]+)")


def as_markdown(text: str, scope: str) -> str:
    """Returns a docstring with links for roles, and with one name in each entry.

    Args:
        text: the docstring, without indentation.
        scope: the full name of the class or function that it describes.
    """
    text = _EXAMPLE.sub(_fenced, text).replace("::\n", ":\n")
    text = _TROUBLESHOOTING.sub(r"[Cause and cure](../\1)", text)
    text = _DOCUMENT.sub(lambda match: f"[{_title(match[1])}](../{match[1]})", text)
    text = _ROLE.sub(lambda match: _link(match[2], match[1] == "~", scope), text)
    lines: list[str] = []
    more: list[str] = []
    section = ""
    for entry in _entries(text):
        if heading := _SECTION.match(entry[0]):
            section = heading[1]
        elif not entry[0].startswith(" ") and entry[0]:
            section = ""
        if section == "Raises" and entry[0].startswith("    ") and not _ENTRY.match(entry[0]):
            # "And everything that X raises.": there is no name for an entry.
            more.append(" ".join(line.strip() for line in entry))
        else:
            lines += _separated(entry, section, scope)
    further = " ".join(_AND.sub(lambda match: match[2].upper(), sentence) for sentence in more)
    return "\n".join([*lines, "", f"*Further errors:* {further}"] if more else lines)


def _title(document: str) -> str:
    text = (_DOCUMENTS / document).read_text("utf-8")
    return text.partition("\n")[0].removeprefix("# ")


def _fenced(example: re.Match[str]) -> str:
    """An interactive example as a block of code that can be copied."""
    lines: list[str] = []
    for line in example[0].splitlines():
        begins = line.lstrip().startswith(">>>")
        if begins and lines and lines[-1].startswith(" "):  # after a class or another block
            lines += ["", ""]
        lines.append(line.lstrip()[4:])
    return "\n".join(["```python", *lines, "```", ""])


def _entries(text: str) -> list[list[str]]:
    """Groups lines: the first line of an entry of a section, and those that continue it."""
    groups: list[list[str]] = []
    for line in text.splitlines():
        if groups and line.startswith(" " * 8) and groups[-1][0].startswith("    "):
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def _separated(entry: list[str], section: str, scope: str) -> list[str]:
    """One entry for each of the names that share a description."""
    match = _ENTRY.match(entry[0])
    if match is None or section not in {"Args", "Raises", "Attributes"}:
        return entry
    indent, names, rest = match.groups()
    if section == "Raises":
        names = ", ".join(public_path(name, scope) or name for name in names.split(", "))
    first, *others = names.split(", ")
    lines = [f"{indent}{first}{rest}", *entry[1:]]
    shown = first.rpartition(".")[2]
    return lines + [f"{indent}{other}: see ``{shown}``." for other in others]


def _link(name: str, is_short: bool, scope: str) -> str:
    shown = name.rpartition(".")[2] if is_short else name
    if path := public_path(name, scope):
        return f"[`{shown}`][{path}]"
    if url := external_url(name):
        return f"[`{shown}`]({url})"
    _log.warning("%s refers to %s, which is not public", scope, name)
    return f"`{shown}`"
