"""docs/rpc-rules.md quotes the code: each program in it raises the error below it."""

from __future__ import annotations

import ast
import collections.abc
import contextlib
import dataclasses
import enum
import logging
import re
import sys
import types
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio

from ipcpipes import rpc
from ipcpipes.testing import memory_stream_pair

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "rpc-rules.md"

if not DOCUMENT.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)

SOURCES = Path(rpc.__file__).parent
DEFINING, RUNNING = "When an interface is defined", "When calls run"
UUIDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_LONG = "Python int too large to convert to C long"


class Block:
    """A program of the document, and the error below it."""

    def __init__(self, part: str, heading: str, code: str, quoted: str) -> None:
        self.part = part
        self.heading = heading
        self.code = code
        self.quoted = quoted


def blocks() -> list[Block]:
    text = DOCUMENT.read_text("utf-8")
    found = []
    part = heading = ""
    inside = r"((?:(?!```)[^\0])*)"
    pattern = rf"^(##+) (.+)$|^```py\n{inside}```\n\n```text\n{inside}```$"
    for match in re.finditer(pattern, text, re.MULTILINE):
        level, title, code, quoted = match.groups()
        if level == "##":
            part, heading = title, ""
        elif level:
            heading = title
        else:
            found.append(Block(part, heading, code, quoted.replace("\n", " ").strip()))
    return found


def of(part: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{block.heading}-{number}")
        for number, block in enumerate(blocks())
        if block.part == part
    ]


def without_uuid(text: str) -> str:
    return UUIDS.sub("UUID", text)


def namespace() -> dict[str, Any]:
    return {
        "Annotated": Annotated,
        "AsyncGenerator": collections.abc.AsyncGenerator,
        "AsyncIterable": collections.abc.AsyncIterable,
        "AsyncIterator": collections.abc.AsyncIterator,
        "Any": Any,
        "UUID": "6f1c6b1e-58b8-4b52-9d0c-0f6f4f0f7a10",
        "dataclass": dataclasses.dataclass,
        "enum": enum,
        "rpc": rpc,
        "trio": trio,
    }


def run(code: str) -> dict[str, Any]:
    """Runs the code in a module of its own; returns its names."""
    module = types.ModuleType("example")
    vars(module).update(namespace())
    before = set(vars(module))
    sys.modules["example"] = module  # classes look up the names in their annotations here
    try:
        exec(compile(code, "<example>", "exec", dont_inherit=True), vars(module))
    finally:
        del sys.modules["example"]
    made = {name: value for name, value in vars(module).items() if name not in before}
    made.pop("__builtins__", None)
    return made


@pytest.mark.parametrize("block", of(DEFINING))
def test_the_document_quotes_definition_errors(block: Block) -> None:
    with pytest.raises((rpc.DefinitionError, ValueError)) as caught:
        run(block.code)
    if isinstance(caught.value, rpc.DefinitionError):
        assert caught.value.rule == block.heading
    assert without_uuid(block.quoted) == without_uuid(str(caught.value))


class Merger(rpc.Interface, uuid="5f607182-93a4-45b6-87d8-e9faabbccdba", version=(1, 0)):
    """The interface that the document shows."""

    @rpc.operation
    async def merge(
        self,
        first: rpc.InPipe[rpc.int32],
        second: rpc.InPipe[rpc.int32],
        merged: rpc.OutPipe[rpc.int32],
    ) -> int:
        raise NotImplementedError

    @rpc.operation
    async def bounded(self, numbers: Annotated[rpc.InPipe[rpc.int32], rpc.Range(2, 4)]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def square(self, number: int) -> int:
        raise NotImplementedError

    @rpc.operation
    @rpc.options(maybe=True)
    async def note(self, text: str) -> None:
        raise NotImplementedError


class GoodManager(Merger):
    async def merge(self, first: Any, second: Any, merged: Any) -> int:
        numbers = [number async for chunk in first for number in chunk]
        numbers += [number async for chunk in second for number in chunk]
        await merged.push(sorted(numbers))
        await merged.close()
        return len(numbers)

    async def bounded(self, numbers: Any) -> int:
        return sum([len(chunk) async for chunk in numbers])

    async def square(self, number: int) -> int:
        return number**2

    async def note(self, text: str) -> None:
        pass


async def usual_client(merger: Any) -> None:
    await merger.merge(first=[1, 3, 5], second=[2, 4], merged=[])


@pytest.mark.parametrize("block", of(RUNNING))
async def test_the_document_quotes_call_errors(
    block: Block, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "ipcpipes")
    own = run(block.code)
    client = own.pop("client", usual_client)
    manager = type("Manager", (GoodManager,), own)
    ours, theirs = memory_stream_pair()
    error: BaseException | None = None
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rpc.serve_connection, manager(), theirs)
            async with rpc.bind(Merger, ours) as merger:
                try:
                    await client(merger)
                except Exception as caught:
                    error = caught
    assert error is not None
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions  # of a nursery
    found = f"{type(error).__name__}: {error}"
    # On Windows, C's long has 32 bits, and Python's error says so.
    found = found.replace(_LONG, "signed integer is greater than maximum")
    assert block.quoted == found


async def test_the_examples_good_manager_and_client_work() -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, GoodManager(), theirs)
        async with rpc.bind(Merger, ours) as merger:
            await usual_client(merger)
            assert await merger.bounded(rpc.feed([1, 2])) == 2
            assert await merger.square(3) == 9


def test_the_document_shows_the_tested_interface() -> None:
    text = DOCUMENT.read_text("utf-8")
    (shown,) = re.findall(r"^```py\n(class Merger.*?)^```$", text, re.MULTILINE | re.DOTALL)
    written = run(shown)["Merger"]._rpc_definition
    ours = Merger._rpc_definition
    assert (written.uuid, written.version) == (ours.uuid, ours.version)
    assert [
        (one.name, one.parameters, one.signature_of_pipes, one.result, one.options)
        for one in written.operations.values()
    ] == [
        (one.name, one.parameters, one.signature_of_pipes, one.result, one.options)
        for one in ours.operations.values()
    ]


def rules_of_the_code() -> set[str]:
    """The rule of each call that refuses a definition."""
    rules: set[str] = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name not in ("DefinitionError", "BrokenRule"):
                continue
            with contextlib.suppress(ValueError):
                rules.add(str(ast.literal_eval(node.args[0])))
    return rules | {"not idempotent", "not maybe"}  # their text is composed


def test_every_rule_has_its_heading() -> None:
    headings = {block.heading for block in blocks() if block.part == DEFINING}
    assert headings - {"a range"} == rules_of_the_code()


def test_every_rule_is_in_the_table() -> None:
    text = DOCUMENT.read_text("utf-8")
    table = re.findall(r"^\| \[(.*?)\]\(#(.*?)\) \|", text, re.MULTILINE)
    assert {rule for rule, _ in table} == rules_of_the_code()
    assert all(anchor == rule.replace(" ", "-") for rule, anchor in table)


def test_every_pipe_error_is_quoted() -> None:
    quoted = {block.quoted.partition(":")[0] for block in blocks() if block.part == RUNNING}
    # This error needs two different interfaces.
    others = {"WrongPipeVersion"}
    pipes = {kind.__name__ for kind in rpc.PipeError.__subclasses__()}
    assert quoted >= pipes - others
    assert quoted >= {"BadStubData", "InvalidAsyncCall", "InvalidAsyncHandle", "AsyncCallPending"}
