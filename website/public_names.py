"""The public names of ipcpipes, and where the site describes each of them."""

from __future__ import annotations

import builtins
import dataclasses
import importlib
import inspect
import re
import sys
from functools import cache
from typing import Any

__all__ = [
    "PUBLIC_MODULES",
    "described_attributes",
    "external_url",
    "public_names",
    "public_path",
]

# If two modules have the same name, such as ``connect``, the first one is meant.
PUBLIC_MODULES = (
    "ipcpipes",
    "ipcpipes.rpc",
    "ipcpipes.testing",
    "ipcpipes.abc",
    "ipcpipes.blocking",
    "ipcpipes.rpc.blocking",
    "ipcpipes.rpc.opentelemetry",
    "ipcpipes.blocking.abc",
)

_SECTIONS = re.compile(r"^(\w+):\n((?:    .*\n?|\n)+)", re.MULTILINE)
_ENTRIES = re.compile(r"^    (\w+(?:, \w+)*): ", re.MULTILINE)
_MSGSPEC = "https://jcristharif.com/msgspec/"
_PYTHON = "https://docs.python.org/3/library"
_TRIO = "https://trio.readthedocs.io/en/stable"
_TRIO_PAGES = {
    "abc": "reference-io",
    "lowlevel": "reference-lowlevel",
    "testing": "reference-testing",
}


@cache
def public_names() -> dict[str, object]:
    """Returns each public object by its full name, such as ``ipcpipes.rpc.serve``; no modules."""
    return {
        f"{module}.{name}": found
        for module in PUBLIC_MODULES
        for name in importlib.import_module(module).__all__
        if not inspect.ismodule(found := getattr(importlib.import_module(module), name))
    }


def public_path(name: str, scope: str = "ipcpipes") -> str | None:
    """Returns the full name of a public object or module, or of a member of a public class.

    Args:
        name: what a text calls it: ``serve``, ``rpc.serve``, ``Endpoint.named``, ``push``.
        scope: the full name of the module or class that the text is about. It is searched first.
    """
    inner = scope
    while inner.startswith("ipcpipes"):
        if _exists(path := f"{inner}.{name}"):
            return path
        found = public_names().get(inner)
        if inspect.isclass(found) and name in described_attributes(found):
            return inner  # the class describes it
        inner = inner.rpartition(".")[0]
    for prefix in ("", *(f"{module}." for module in PUBLIC_MODULES)):
        if _exists(path := prefix + name):
            return path
    return None


def described_attributes(found: Any) -> set[str]:
    """Returns the names in the "Attributes" sections of a class and its base classes; the arguments
    of a dataclass are attributes too.
    """
    return {
        name
        for base in found.__mro__
        for heading, entries in _SECTIONS.findall(inspect.cleandoc(base.__doc__ or ""))
        if heading == "Attributes" or (heading == "Args" and dataclasses.is_dataclass(found))
        for names in _ENTRIES.findall(entries)
        for name in names.split(", ")
    }


@cache
def _exists(path: str) -> bool:
    if path in PUBLIC_MODULES or path in public_names():
        return True
    owner, _, member = path.rpartition(".")
    found = public_names().get(owner)
    if not inspect.isclass(found) or member.startswith("_"):
        return False
    return any(member in vars(base) for base in found.__mro__ if _is_ours(base))


def _is_ours(found: type) -> bool:
    return found.__module__.partition(".")[0] == "ipcpipes"


def external_url(name: str) -> str | None:
    """Returns where Python or trio documents a name, such as ``trio.abc.Stream`` or ``OSError``."""
    first, _, rest = name.partition(".")
    if hasattr(builtins, first):
        is_error = isinstance(getattr(builtins, first), type) and issubclass(
            getattr(builtins, first), BaseException
        )
        return f"{_PYTHON}/{'exceptions' if is_error else 'functions'}.html#{name}"
    if first == "msgspec":
        return _MSGSPEC
    if first == "trio":
        page = _TRIO_PAGES.get(rest.partition(".")[0], "reference-core")
        return f"{_TRIO}/{page}.html#{name}"
    if first in sys.stdlib_module_names and rest:
        module = first
        while _is_module(longer := f"{module}.{name[len(module) + 1 :].partition('.')[0]}"):
            module = longer
        return f"{_PYTHON}/{module}.html#{name}"
    return None


def _is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
