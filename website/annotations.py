"""Shows types in signatures so that a caller can look them up: links for public classes, and the
meaning of names that only the code has.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
from typing import Any, TypeVar

import griffe

from .public_names import public_names

__all__ = ["show_types", "type_of"]

_ExprT = TypeVar("_ExprT")


def show_types(described: griffe.Function | griffe.Attribute) -> None:
    """Changes the types of a public function, method, property or attribute."""
    package = described.package
    if isinstance(described, griffe.Attribute):
        described.annotation = _shown(described.annotation, package)
        return
    for parameter in described.parameters:
        parameter.annotation = _shown(parameter.annotation, package)
    described.returns = _shown(described.returns, package)


def type_of(text: str, described: griffe.Function) -> griffe.Expr | None:
    """Returns the type that a text describes, with the names of the function's module."""
    return griffe.safe_get_annotation(ast.parse(text, mode="eval").body, parent=described.module)


def _shown(expression: _ExprT, package: griffe.Module) -> _ExprT | Any:
    if isinstance(expression, griffe.ExprName):
        return _shown_name(expression, package)
    if isinstance(expression, griffe.ExprAttribute):
        return expression
    if isinstance(expression, griffe.Expr):
        parts = {
            field.name: _shown(getattr(expression, field.name), package)
            for field in dataclasses.fields(expression)
        }
        return dataclasses.replace(expression, **parts)
    if isinstance(expression, (list, tuple)):
        return [_shown(part, package) for part in expression]
    return expression


def _shown_name(name: griffe.ExprName, package: griffe.Module) -> griffe.Expr:
    path = name.canonical_path
    if not path.startswith("ipcpipes."):
        return name
    if (public := _public_path(path)) is not None:
        owner, _, last = public.rpartition(".")
        return griffe.ExprName(last, parent=owner)
    described = package[path.removeprefix("ipcpipes.")]
    if described.is_alias:
        described = described.final_target
    # A call makes a type variable, which says itself what it is.
    if described.is_attribute and not isinstance(described.value, griffe.ExprCall):
        return _shown(described.value, package)
    return name


def _public_path(path: str) -> str | None:
    """The public name of an object, for any name by which the code imports it."""
    if path in public_names():
        return path
    module, _, last = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), last)
    except (ImportError, AttributeError):
        return None  # only type checkers import it, or it is a member of a class
    return next((public for public, named in public_names().items() if named is found), None)
