"""``python -m ipcpipes call`` and ``stubs``: the values of streams, as lines of JSON."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec
import pytest

from ipcpipes import rpc

from .echo_runs import as_users_have_it, complaint, eventually, here, one_line, running
from .rpc_over_links import serving
from .threads import in_trio

NAME = "call-streams"


class Note(msgspec.Struct):
    number: int
    text: str = ""


class Notes(rpc.Interface, uuid="3e1c5a7b-9d2f-4c4e-8a6b-1f0d2c3b4a59", version=(1, 0)):
    @rpc.operation
    async def total(self, notes: rpc.InStream[Note]) -> int: ...
    @rpc.operation
    async def some(self, count: int, notes: rpc.OutStream[Note]) -> str: ...
    @rpc.operation
    def upper(self, words: rpc.InStream[str]) -> AsyncIterator[str]: ...
    @rpc.operation
    def fails(self) -> AsyncIterator[int]: ...


class NotesManager(Notes):
    async def total(self, notes: Any) -> int:
        return sum([note.number async for note in notes])

    async def some(self, count: int, notes: Any) -> str:
        for number in range(count):
            await notes.send(Note(number, "\x1b[2J"))
        return "done"

    async def upper(self, words: Any) -> AsyncIterator[str]:
        async for word in words:
            yield word.upper()

    async def fails(self) -> AsyncIterator[int]:
        yield 1
        raise rpc.Fault("no more", code=5)


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        with in_trio(partial(serving, NotesManager(), at=NAME, introspection=True)):
            yield directory


def called(
    *arguments: str, text: bytes | None = None, status: int = 0
) -> subprocess.CompletedProcess[bytes]:
    result = here("call", NAME, *arguments, text=text)
    assert result.returncode == status, result.stderr
    assert b"Traceback" not in result.stderr
    return result


def lines(result: subprocess.CompletedProcess[bytes]) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_streams_are_listed() -> None:
    listing = called().stdout.decode()
    assert "total(notes: in stream of Note) -> int" in listing
    assert "some(count: int, notes: out stream of Note) -> str" in listing
    assert "upper(words: in stream of str) -> yields str" in listing
    assert "type Note = {number: int, text: str = ''}" in listing


def test_values_come_from_a_json_list_a_file_or_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text('{"number": 1}\n\n{"number": 2, "text": "a"}')
    assert lines(called("Notes.total", 'notes=[{"number": 5}, {"number": 6}]')) == [11]
    assert lines(called("Notes.total", "notes=[]")) == [0]
    assert lines(called("Notes.total", f"notes=@{file}")) == [3]
    assert lines(called("Notes.total", "notes=-", text=b'{"number": 7}\n')) == [7]
    assert lines(called("Notes.total", "notes=-", text=b"")) == [0]


def test_values_go_to_standard_output_or_to_a_file(tmp_path: Path) -> None:
    result = called("Notes.some", "count=2")
    assert lines(result) == [{"number": each, "text": "\x1b[2J"} for each in (0, 1)]
    assert b"\x1b" not in result.stdout
    assert b'result: "done"' in result.stderr
    file = tmp_path / "notes"
    assert lines(called("Notes.some", "count=2", f"notes=@{file}")) == ["done"]
    assert [json.loads(line)["number"] for line in file.read_bytes().splitlines()] == [0, 1]


def test_what_is_yielded_is_printed() -> None:
    assert lines(called("Notes.upper", 'words=["a", "b"]')) == ["A", "B"]
    assert called("Notes.upper", "words=[]").stdout == b""


def test_each_line_is_sent_and_printed_at_once() -> None:
    with running("call", NAME, "Notes.upper", "words=-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for word in ("first", "second"):
            process.stdin.write(f'"{word}"\n'.encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline()) == word.upper()
        process.stdin.close()
        eventually(lambda: process.poll() == 0)


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["Notes.total"], b"", "the stream notes needs its values: notes=@FILE"),
        (["Notes.total", "notes=x"], b"", "the stream notes takes @FILE, - or a JSON list, not x"),
        (["Notes.total", "notes={}"], b"", "takes @FILE, - or a JSON list, not {}"),
        (["Notes.total", "notes=-"], b"1\nx\n", "line 2 of the input of notes is not JSON: "),
        (["Notes.upper", "words=-"], b'"a"\nx\n', "line 2 of the input of words is not JSON: "),
        (["Notes.total", "notes=[5]"], b"", "notes is not of its type: Expected `object`, got `i"),
        (["Notes.some", "count=1", "notes=here"], b"", "the stream notes goes to @FILE or -, not"),
        (["Notes.fails"], b"", "no more"),
    ],
)
def test_errors_are_one_line(arguments: list[str], text: bytes, said: str) -> None:
    assert said in one_line(called(*arguments, text=text, status=1).stderr)


def test_values_before_an_error_are_printed() -> None:
    assert lines(called("Notes.fails", status=1)) == [1]


def test_stubs_of_an_interface_with_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noted.py").write_text(
        dedent("""
            from collections.abc import AsyncGenerator
            from ipcpipes import rpc
            UUID = "3e1c5a7b-9d2f-4c4e-8a6b-1f0d2c3b4a58"
            class Noted(rpc.Interface, uuid=UUID, version=(1, 0)):
                @rpc.operation
                async def total(self, notes: rpc.InStream[str]) -> int: ...
                @rpc.operation
                def all(self, out: "rpc.OutStream[int]") -> AsyncGenerator[str, None]: ...
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    modules = []
    for place, module, options in (
        ("noted:Noted", "noted_blocking", []),
        ("noted_blocking:Noted", "noted_trio", ["--trio"]),
    ):
        run = here("stubs", place, *options)
        assert (run.returncode, run.stderr) == (0, b"")
        (tmp_path / f"{module}.py").write_bytes(run.stdout)
        importlib.invalidate_caches()
        modules.append((importlib.import_module(module), run.stdout.decode()))
    (blocking, text), (trio, other) = modules
    assert "def total(self, notes: blocking.InStream[str]) -> int" in text
    assert "def all(self, out: blocking.OutStream[int]) -> Iterator[str]" in text
    assert "async def total(self, notes: rpc.InStream[str]) -> int" in other
    assert "    def all(self, out: rpc.OutStream[int]) -> AsyncIterator[str]" in other
    for found in (blocking, trio):
        operations = found.Noted._rpc_definition.operations
        assert operations["total"].signature_of_pipes == "in stream"
        assert operations["all"].signature_of_pipes == "out stream, out stream"


def test_a_name_for_an_iterator_has_no_stub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aliased.py").write_text(
        dedent("""
            from collections.abc import AsyncIterator
            from ipcpipes import rpc
            UUID = "3e1c5a7b-9d2f-4c4e-8a6b-1f0d2c3b4a57"
            Numbers = AsyncIterator[int]
            class Aliased(rpc.Interface, uuid=UUID, version=(1, 0)):
                @rpc.operation
                def all(self) -> Numbers: ...
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = here("stubs", "aliased:Aliased")
    assert run.returncode == 1
    assert "Numbers is another name for an iterator; write the type out" in complaint(run)
