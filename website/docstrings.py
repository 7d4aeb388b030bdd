"""Prepares what the reference shows of the public names: a griffe extension for mkdocstrings.

It changes docstrings and signatures, and gives members that a class inherits their descriptions.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from typing import Any, cast

import griffe

from .annotations import show_types
from .docstring_text import as_markdown
from .public_names import described_attributes, public_names
from .signatures import show_class_for_callers, show_for_callers

_log = logging.getLogger("griffe.ipcpipes")

# The filter in zensical.toml shows the same ones.
_SHOWN = {"__call__", "__enter__", "__iter__", "__aenter__", "__aiter__"}


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
        elif member.is_attribute:
            show_types(member)
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
