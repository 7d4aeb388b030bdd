"""Writes an interface for the other driver, with the same operations."""

from __future__ import annotations

import ast
import inspect
import sys
import typing
from types import ModuleType
from typing import Any

from ...rpc.definition.operations import Definition, Operation
from ...rpc.definition.parameters import PipeType
from ...rpc.definition.stream_types import StreamType
from ..failure import Failure
from .names import Imports, alias_of, value_of
from .source import find, method_of

__all__ = ["stubs"]


def stubs(place: str, *, blocking: bool) -> str:
    """Returns the text of a module with the interface at ``MODULE:INTERFACE`` for one driver.

    Args:
        blocking: for the blocking driver; if false, for trio.

    Raises:
        Failure: there is no such interface, or its source text cannot be used.
    """
    interface, definition = find(place)
    imports = Imports()
    imports.add("from ipcpipes import rpc", "rpc")
    for name, declared in definition.raises.items():
        imports.add(f"from {declared.kind.__module__} import {name}", name)
    methods = [
        _Stub(interface, one, imports, blocking=blocking).text()
        for one in definition.operations.values()
    ]
    command = f"python -m ipcpipes stubs {place}" + ("" if blocking else " --trio")
    return "\n".join(
        [
            f"# Written by: {command}",
            "from __future__ import annotations",
            "",
            *imports.lines(),
            "",
            "",
            *_head(definition, vars(interface).get("__doc__")),
            "\n\n".join(methods) or "    pass",
        ]
    )


def _head(definition: Definition, documentation: str | None) -> list[str]:
    major, minor = definition.version
    identity = f'uuid="{definition.uuid}", version=({major}, {minor})'
    if definition.raises:
        identity += f", raises=[{', '.join(definition.raises)}]"
    head = [f"class {definition.name}(rpc.Interface, {identity}):"]
    if documentation:
        docstring = ast.Expr(ast.Constant(documentation))
        # As the body of a class, because only there it is written with three quotes.
        body = ast.ClassDef("_", [], [], [docstring], [], **_NO_TYPE_PARAMETERS)
        head += [*ast.unparse(body).splitlines()[1:], ""]
    return head


_NO_TYPE_PARAMETERS: dict[str, Any] = {"type_params": []} if sys.version_info >= (3, 12) else {}


class _Stub(ast.NodeTransformer):
    """One operation. It visits the annotations of its method."""

    def __init__(
        self, interface: type, operation: Operation, imports: Imports, *, blocking: bool
    ) -> None:
        function = inspect.getattr_static(interface, operation.name)
        self._method = method_of(function)
        self._module: ModuleType = sys.modules[function.__module__]
        self._operation = operation
        self._imports = imports
        self._blocking = blocking

    def text(self) -> str:
        method = self._method
        for each in method.args.args[1:]:
            assert each.annotation is not None  # a rule of interfaces
            each.annotation = self._annotation(each.annotation)
        if method.returns is not None:
            method.returns = self._result(method.returns)
        for default in method.args.defaults:
            self._import_names(default)
        ellipsis: ast.stmt = ast.Expr(ast.Constant(...))
        is_documented = ast.get_docstring(method) is not None
        is_plain = self._blocking or self._operation.yields is not None
        kind = ast.FunctionDef if is_plain else ast.AsyncFunctionDef
        written = kind(
            method.name,
            method.args,
            method.body[:1] if is_documented else [ellipsis],
            [],
            method.returns,
            **_NO_TYPE_PARAMETERS,
        )
        lines = ast.unparse(ast.fix_missing_locations(written)).splitlines()
        return "\n".join(
            f"    {line}" if line else "" for line in ["@rpc.operation", *self._options(), *lines]
        )

    def _options(self) -> list[str]:
        options = self._operation.options
        chosen = {
            "idempotent": options.idempotent or None,
            "maybe": options.maybe or None,
            "timeout": options.timeout,
        }
        text = ", ".join(f"{name}={value}" for name, value in chosen.items() if value is not None)
        return [f"@rpc.options({text})"] if text else []

    def _result(self, annotation: ast.expr) -> ast.expr:
        if self._operation.yields is None:
            return self._annotation(annotation)
        if isinstance(annotation, ast.Constant):
            annotation = ast.parse(str(annotation.value), mode="eval").body
        if not isinstance(annotation, ast.Subscript):
            raise Failure(
                f"{self._operation}: {ast.unparse(annotation)} is another name for an iterator; "
                "write the type out, such as AsyncIterator[str]"
            )
        yielded = annotation.slice
        if isinstance(yielded, ast.Tuple):  # what is sent into a generator, and what it returns
            yielded = yielded.elts[0]
        name = "Iterator" if self._blocking else "AsyncIterator"
        self._imports.add(f"from collections.abc import {name}", name)
        return ast.Subscript(ast.Name(name), self._annotation(yielded))

    def _annotation(self, annotation: ast.expr) -> ast.expr:
        changed: ast.expr = self.visit(annotation)
        return changed

    def _import_names(self, expression: ast.expr) -> None:
        for each in ast.walk(expression):
            if isinstance(each, ast.Name):
                self._imports.add_name(each.id, self._module)

    def visit_Name(self, node: ast.Name) -> ast.expr:  # named by NodeVisitor
        value = value_of(node, self._module)
        if _is_flow(value):
            return self._flow(value)
        alias = alias_of(node.id, self._module)
        if alias is not None and any(
            isinstance(each, ast.expr) and _is_flow(value_of(each, self._module))
            for each in ast.walk(alias)
        ):
            return self._annotation(alias)
        self._imports.add_name(node.id, self._module)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        value = value_of(node, self._module)
        if _is_flow(value):
            return self._flow(value)
        node.value = self._annotation(node.value)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        kind = value_of(node.value, self._module)
        node.value = self._annotation(node.value)
        if kind is typing.Literal:
            pass  # its texts are no annotations
        elif kind is typing.Annotated and isinstance(node.slice, ast.Tuple):
            first, *notes = node.slice.elts
            for note in notes:
                self._import_names(note)
            node.slice.elts[0] = self._annotation(first)
        else:
            node.slice = self._annotation(node.slice)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, str):
            return node
        try:
            return self._annotation(ast.parse(node.value, mode="eval").body)
        except SyntaxError:
            raise Failure(
                f"{self._operation}: the annotation {node.value!r} cannot be understood"
            ) from None

    def _flow(self, kind: type[PipeType | StreamType]) -> ast.expr:
        if self._blocking:
            self._imports.add("from ipcpipes.rpc import blocking", "blocking")
        room = "blocking" if self._blocking else "rpc"
        return ast.Attribute(ast.Name(room), kind.__name__)


def _is_flow(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, (PipeType, StreamType))
