"""The names in annotations: which import binds each of them, and what it stands for."""

from __future__ import annotations

import ast
import builtins
import importlib.util
from types import ModuleType
from typing import Any

from ..failure import Failure
from .source import statements_of

__all__ = ["Imports", "alias_of", "value_of"]


def value_of(expression: ast.expr, module: ModuleType) -> Any:
    """Returns what ``a.b.c`` stands for in a module; ``None`` if it is something else, or is only
    imported for type checkers.
    """
    if isinstance(expression, ast.Name):
        return getattr(module, expression.id, None)
    if isinstance(expression, ast.Attribute):
        return getattr(value_of(expression.value, module), expression.attr, None)
    return None


def alias_of(name: str, module: ModuleType) -> ast.expr | None:
    """Returns the expression that ``name = ...`` or ``type name = ...`` assigns in a module."""
    for each in statements_of(module):
        if isinstance(each, ast.Assign):
            targets: list[Any] = each.targets
        elif isinstance(each, ast.AnnAssign):
            targets = [each.target]
        elif type(each).__name__ == "TypeAlias":  # Python 3.12
            targets = [getattr(each, "name")]  # noqa: B009
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value: ast.expr | None = getattr(each, "value", None)
            return value
    return None


class Imports:
    """The import statements that bind the names of a new module."""

    def __init__(self) -> None:
        self._statements: dict[str, str] = {}

    def add(self, statement: str, name: str) -> None:
        """Raises:
        Failure: the name stands for something else already.
        """
        if self._statements.setdefault(name, statement) != statement:
            raise Failure(
                f"{name} has two meanings: {self._statements[name]!r} and {statement!r}; "
                "give one of them another name"
            )

    def add_name(self, name: str, module: ModuleType) -> None:
        """Adds the import of what ``name`` stands for in a module."""
        statement = _import_of(name, module)
        if statement is not None:
            self.add(statement, name)
        elif hasattr(module, name) or not hasattr(builtins, name):
            self.add(f"from {module.__name__} import {name}", name)

    def lines(self) -> list[str]:
        plain = [one for one in self._statements.values() if one.startswith("import ")]
        others = [one for one in self._statements.values() if not one.startswith("import ")]
        return sorted(set(plain)) + sorted(set(others))


def _import_of(name: str, module: ModuleType) -> str | None:
    """Returns the statement by which a module itself imports the name."""
    for each in statements_of(module):
        if not isinstance(each, (ast.Import, ast.ImportFrom)):
            continue
        for alias in each.names:
            bound = alias.asname or alias.name
            if isinstance(each, ast.Import):
                # "import a.b" binds "a"
                if name in (bound, bound.partition(".")[0]):
                    return ast.unparse(ast.Import([alias]))
            elif name == bound:
                place = "." * each.level + (each.module or "")
                place = importlib.util.resolve_name(place, module.__package__)
                return ast.unparse(ast.ImportFrom(place, [alias], 0))
    return None
