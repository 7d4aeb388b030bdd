"""The source text of modules and operations, as syntax trees."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, TypeAlias

from ... import rpc
from ...rpc.core.client import definition_of
from ...rpc.definition.operations import Definition
from ..failure import Failure

__all__ = ["Method", "find", "method_of", "statements_of"]

Method: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef"


def find(place: str) -> tuple[type[rpc.Interface], Definition]:
    """Imports the interface at ``MODULE:INTERFACE``.

    Raises:
        Failure: there is no such module or interface, or the module raises an exception.
    """
    module_name, _, name = place.partition(":")
    if not module_name or not name.isidentifier():
        raise Failure(f"{place} is not MODULE:INTERFACE, such as thumbs:Thumbs")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise Failure(f"cannot import {module_name}: {type(error).__name__}: {error}") from None
    interface: Any = getattr(module, name, None)
    if interface is None:
        raise Failure(f"the module {module_name} has no {name}")
    try:
        return interface, definition_of(interface)
    except TypeError as error:
        raise Failure(str(error)) from None


def method_of(function: Callable[..., Any]) -> Method:
    """Returns the statement that defines a method of an interface.

    Raises:
        Failure: it has no source text, or stands inside a function.
    """
    if "<locals>" in function.__qualname__:
        raise Failure(f"{function.__qualname__} is local to a function; move the interface out")
    try:
        (found,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, SyntaxError, ValueError):
        raise Failure(f"the source of {function.__qualname__} cannot be read") from None
    assert isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef))
    return found


@cache
def statements_of(module: ModuleType) -> list[ast.stmt]:
    """Returns the statements of a module that run when it is imported, also those inside ``if`` and
    ``try``.
    """
    pending: list[ast.AST] = [ast.parse(inspect.getsource(module))]
    found: list[ast.stmt] = []
    while pending:
        for each in ast.iter_child_nodes(pending.pop(0)):
            if isinstance(each, ast.stmt):
                found.append(each)
            if isinstance(each, (ast.If, ast.Try, ast.ExceptHandler)):
                pending.append(each)
    return found
