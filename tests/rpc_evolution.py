"""Changes of interfaces: two versions of one interface, calls between them, and what they lead to.

Each function with :func:`change` is one row of docs/rpc-evolution.md. Two processes serve all old
and all new versions; the tests are the clients of both.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ipcpipes import rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.definition.operations import Definition, Operation

WORKS, SILENT = "works", "silent"
CONNECTING, NOT_SENT = "no connection", "not sent"
NOT_RUN, HAS_RUN = "not run", "has run"

UUIDS = uuid.UUID("3f0b9c5e-5d0e-4f1b-8f5c-1d7c52b9e0a4")


@dataclass(frozen=True)
class Outcome:
    """What a call leads to.

    Attributes:
        word: ``works``, ``silent``, or the name of the exception.
        stage: how far a call that fails has come.
    """

    word: str
    stage: str = HAS_RUN

    def __str__(self) -> str:
        return self.word if self.word in (WORKS, SILENT) else f"`{self.word}` ({self.stage})"


@dataclass(frozen=True)
class Call:
    """A call of one version's client to the other version's server.

    Attributes:
        gives: the result and the content of each sink; if the call fails, a part of the message.
        sinks: how many lists the client passes for out-pipes, after the other arguments.
        count: an operation that says how often the manager has run, if the call must not run it.
    """

    outcome: Outcome
    gives: Any
    operation: str
    arguments: tuple[Any, ...]
    sinks: int = 0
    count: str = ""


def works(gives: Any, operation: str, *arguments: Any, sinks: int = 0) -> Call:
    """The call does what its client means."""
    return Call(Outcome(WORKS), gives, operation, arguments, sinks)


def silent(gives: Any, operation: str, *arguments: Any) -> Call:
    """The call does something else than its client means, without an error."""
    return Call(Outcome(SILENT), gives, operation, arguments)


def lost(count: str, operation: str, *arguments: Any) -> Call:
    """The server drops the call. ``count`` says how often the manager has run."""
    return Call(Outcome(SILENT), None, operation, arguments, count=count)


def fails(
    kind: type[rpc.RpcError],
    stage: str,
    text: str,
    operation: str,
    *arguments: Any,
    sinks: int = 0,
) -> Call:
    return Call(Outcome(kind.__name__, stage), text, operation, arguments, sinks)


class Served:
    """One version of an interface, and what its manager does.

    An operation returns the text of its arguments, unless ``answers`` has something else for it: a
    value, an exception to raise, or a function of the arguments. If the operation has out-pipes or
    out-streams, the answer is what is sent into each.
    """

    def __init__(self, interface: Any, **answers: Any) -> None:
        self.interface: type[rpc.Interface] = interface
        self.definition: Definition = interface._rpc_definition
        self.answers = answers

    def manager(self) -> rpc.Interface:
        members = {
            name: _method(operation, self.answers.get(name))
            for name, operation in self.definition.operations.items()
        }
        made: Any = type("Manager", (self.interface,), members)
        manager: rpc.Interface = made()
        return manager


@dataclass(frozen=True)
class Change:
    """Two versions of an interface, and the calls between them.

    Attributes:
        new_client: what a new client gets from the old server.
        old_client: what an old client gets from the new server.
    """

    old: Served
    new: Served
    new_client: list[Call]
    old_client: list[Call]


Made = Change | list[Change]
"""A row can have several changes, such as one for each kind of record."""


@dataclass(frozen=True)
class Row:
    """A row of the document.

    Attributes:
        name: its first cell.
        make: makes its changes, with a uuid for the first.
    """

    name: str
    make: Callable[[str], Made]

    @cached_property
    def changes(self) -> list[Change]:
        made = self.make(str(uuid.uuid5(UUIDS, self.name)))
        return [made] if isinstance(made, Change) else made


ROWS: dict[str, Row] = {}


def change(name: str) -> Callable[[Callable[[str], Made]], None]:
    """Registers a row."""

    def register(make: Callable[[str], Made]) -> None:
        assert name not in ROWS
        ROWS[name] = Row(name, make)

    return register


def next_uuid(given: str) -> str:
    """A uuid for one more change of a row."""
    return str(uuid.uuid5(UUIDS, given))


# The server.


class Witness(rpc.Interface, uuid="8f1d3c52-7f4c-4bb0-9a58-0b0c8f6f2f11", version=(1, 0)):
    """Says how many managers have run in its process."""

    @rpc.operation
    def runs(self) -> int: ...


runs: list[str] = []
"""The operations whose managers have run."""


class WitnessManager(Witness):
    def runs(self) -> int:
        return len(runs)


_OUT = (blocking.OutPipe, blocking.OutStream)


def _method(operation: Operation, answer: Any) -> Callable[..., Any]:
    """A method that implements the operation, with its parameters."""

    def method(self: Any, *arguments: Any) -> Any:
        runs.append(operation.name)
        values = [_drained(value) for value in arguments]
        pushes = [value for value in arguments if isinstance(value, _OUT)]
        for out in pushes:
            (out.push if isinstance(out, blocking.OutPipe) else out.send_many)(answer)
            out.close()
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(*values)
        if answer is not None and not pushes:
            return answer
        return None if operation.result is type(None) else _shown(values)

    names = ("self", *operation.parameters)
    parameters = [inspect.Parameter(one, inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in names]
    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return method


def _drained(value: Any) -> Any:
    if isinstance(value, blocking.InPipe):
        return [element for chunk in value for element in chunk]
    if isinstance(value, blocking.InStream):
        return list(value)
    return ... if isinstance(value, _OUT) else value


def _shown(values: list[Any]) -> str:
    return ", ".join(map(repr, values))


def managers(version: str) -> list[rpc.Interface]:
    """The managers of one version of every interface."""
    changes = [one for row in rows().values() for one in row.changes]
    return [WitnessManager(), *(getattr(one, version).manager() for one in changes)]


def rows() -> dict[str, Row]:
    """All rows."""
    from . import (  # noqa: F401  # they register their rows
        rpc_evolution_enumerations,
        rpc_evolution_operations,
        rpc_evolution_parameters,
        rpc_evolution_pipes,
        rpc_evolution_records,
        rpc_evolution_streams,
    )

    return ROWS
