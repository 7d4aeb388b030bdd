"""Prepares the docstrings for the site: a griffe extension for mkdocstrings.

The docstrings are written for an editor, with the roles of Sphinx. The site needs links of Markdown
instead. It also needs one entry for each parameter and each error, and whole descriptions of
members that a class inherits.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from typing import Any, cast

import griffe

from .public_names import described_attributes, external_url, public_names, public_path
from .signatures import show_class_for_callers, show_for_callers

_log = logging.getLogger("griffe.ipcpipes")

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`(~?)([\w.]+)`")
_SECTION = re.compile(r"(Args|Raises|Returns|Yields|Attributes):$")
_ENTRY = re.compile(r"(    )([\w.*]+(?:, [\w.*]+)*)(: .*)$")
# The filter in zensical.toml shows the same ones.
_SHOWN = {"__call__", "__enter__", "__iter__", "__aenter__", "__aiter__"}
_EXAMPLE = re.compile(r"^>>> .*\n(?:(?:\.\.\.|>>>).*(?:\n|$))*", re.MULTILINE)
_AND = re.compile(r"^And (also )?(\w)")
_DOCUMENT = re.compile(r"docs/([\w/-]+\.md)")
_TROUBLESHOOTING = re.compile(r"Cause and cure: docs/(troubleshooting\.md#[\w-]+)")


class Docstrings(griffe.Extension):
    """Changes the docstrings of all public objects after the package is loaded."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        if pkg.name != "ipcpipes":
            return
        loader.resolve_aliases()
        for path, found in public_names().items():
            for described in _described_objects(pkg, path, found, loader):
                described.docstring.value = as_markdown(described.docstring.value, path)
                _link_errors(described.docstring, pkg)


def _described_objects(
    package: griffe.Module, path: str, found: Any, loader: griffe.GriffeLoader
) -> Iterator[Any]:
    """Yields a public object and its members, those that have a docstring."""
    name = path.removeprefix("ipcpipes.")
    if inspect.isclass(found) and found.__module__.startswith("ipcpipes."):
        # Some classes are chosen by system when the package is imported.
        real = package[f"{found.__module__}.{found.__qualname__}".removeprefix("ipcpipes.")]
        if package[name].is_attribute:
            owner, _, last = name.rpartition(".")
            module = package[owner] if owner else package
            module.set_member(last, griffe.Alias(last, real, parent=module))
        show_class_for_callers(real, found)
        yield from _described_members(real, path, found, loader)
    target = package[name]
    if target.is_alias:
        target = target.final_target
    if target.is_function:
        show_for_callers(target, found)
    if target.docstring is None:
        _log.warning("%s has no docstring", path)
    else:
        yield target


def _described_members(
    described: Any, path: str, found: type, loader: griffe.GriffeLoader
) -> Iterator[Any]:
    attributes = described_attributes(found)
    for name, member in described.all_members.items():
        if name in attributes or (name.startswith("_") and name not in _SHOWN):
            continue  # an attribute is described by the class
        if member.is_alias:
            member = member.final_target
        if member.is_function:
            show_for_callers(member, getattr(found, name))
        if member.docstring is None:
            text = _inherited(found, name) or _described_by_contract(path, name)
            if text is None:
                if not name.startswith("_"):
                    _log.warning("%s.%s has no docstring", path, name)
                continue
            member.docstring = griffe.Docstring(
                text,
                parent=member,
                parser=loader.docstring_parser,
                parser_options=loader.docstring_options,
            )
        yield member


def _link_errors(docstring: griffe.Docstring, package: griffe.Module) -> None:
    """Makes links of the names of errors: griffe looks them up in the module of the function, where
    most of them are unknown.
    """
    for section in docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.raises:
            for error in section.value:
                owner, _, name = str(error.annotation).rpartition(".")
                if owner.partition(".")[0] == "ipcpipes":
                    module = package if owner == "ipcpipes" else package[owner.partition(".")[2]]
                    error.annotation = griffe.ExprName(name, parent=module)


def _inherited(found: type, name: str) -> str | None:
    """The docstring of a member in the first base class that has one."""
    for base in found.__mro__[:-1]:
        member = base.__dict__.get(name)
        is_code = isinstance(member, (property, classmethod, staticmethod)) or callable(member)
        if is_code and (text := member.__doc__):
            return inspect.cleandoc(text)
    return None


def _described_by_contract(path: str, name: str) -> str | None:
    """The docstring of the abstract class, for classes that match it without being derived."""
    if not path.startswith("ipcpipes.blocking."):
        return None
    for contract, found in public_names().items():
        is_contract = contract.startswith("ipcpipes.blocking.abc.") and inspect.isclass(found)
        if is_contract and (text := _inherited(cast("type", found), name)):
            return text
    return None


def as_markdown(text: str, scope: str) -> str:
    """Returns a docstring with links for roles, and with one name in each entry.

    Args:
        text: the docstring, without indentation.
        scope: the full name of the class or function that it describes.
    """
    text = _EXAMPLE.sub(_fenced, text).replace("::\n", ":\n")
    text = _TROUBLESHOOTING.sub(r"[Cause and cure](../\1)", text)
    text = _DOCUMENT.sub(r"[\1](../\1)", text)
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


def _fenced(example: re.Match[str]) -> str:
    """An interactive example as a block of code that can be copied."""
    lines = [line.lstrip()[4:] for line in example[0].splitlines()]
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
        full = [public_path(name, scope) or name for name in names.split(", ")]
        return [line for name in full for line in (f"{indent}{name}{rest}", *entry[1:])]
    first, *others = names.split(", ")
    lines = [f"{indent}{first}{rest}", *entry[1:]]
    return lines + [f"{indent}{other}: see ``{first}``." for other in others]


def _link(name: str, is_short: bool, scope: str) -> str:
    shown = name.rpartition(".")[2] if is_short else name
    if path := public_path(name, scope):
        return f"[`{shown}`][{path}]"
    if url := external_url(name):
        return f"[`{shown}`]({url})"
    _log.warning("%s refers to %s, which is not public", scope, name)
    return f"`{shown}`"
