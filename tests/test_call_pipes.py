"""``python -m ipcpipes call``: the elements of pipes, from JSON and files, as text and in files."""

from __future__ import annotations

import enum
import json
import os
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio

from ipcpipes import rpc
from ipcpipes._cli.call.elements import text_of, with_known_elements
from ipcpipes._cli.failure import Failure
from ipcpipes.rpc.definition.elements import _SCALARS, element_of
from ipcpipes.rpc.definition.introspection import (
    InterfaceDescription,
    IntrospectionManager,
    OperationDescription,
    ParameterDescription,
    PipeDescription,
    definition_of,
)

from .echo_runs import (
    LIMIT,
    as_users_have_it,
    complaint,
    eventually,
    here,
    make_fifo,
    one_line,
    posix_files,
    posix_signals,
    press_ctrl_c,
    running,
)
from .rpc_over_links import serving
from .threads import in_trio

NAME = "call-pipes"

FULL = Path("/dev/full")
with_full_device = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Cell(rpc.Structure):
    flag: rpc.boolean
    letter: rpc.byte
    level: Level


class Sample(rpc.Structure):
    time: rpc.int64
    cell: Cell
    channels: Annotated[list[rpc.float32], rpc.Length(2)]
    cells: Annotated[list[Cell], rpc.Length(2)]
    grid: Annotated[list[Annotated[list[rpc.uint16], rpc.Length(2)]], rpc.Length(2)]


class Point(rpc.Structure):
    t: rpc.int64
    v: rpc.float64


class Pipes(rpc.Interface, uuid="0c0b5d4c-60f3-4a4e-a5be-3d1d2f6a7a51", version=(1, 0)):
    @rpc.operation
    async def samples(self, p: rpc.InOutPipe[Sample]) -> str:
        raise NotImplementedError

    @rpc.operation
    async def points(self, n: int, p: rpc.OutPipe[Point]) -> str:
        raise NotImplementedError

    @rpc.operation
    async def take(self, p: Annotated[rpc.InPipe[Point], rpc.Range(2, 3)]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def numbers(self, p: rpc.InOutPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def scalars(
        self,
        byte: rpc.InOutPipe[rpc.byte],
        boolean: rpc.InOutPipe[rpc.boolean],
        int8: rpc.InOutPipe[rpc.int8],
        int16: rpc.InOutPipe[rpc.int16],
        int32: rpc.InOutPipe[rpc.int32],
        int64: rpc.InOutPipe[rpc.int64],
        uint8: rpc.InOutPipe[rpc.uint8],
        uint16: rpc.InOutPipe[rpc.uint16],
        uint32: rpc.InOutPipe[rpc.uint32],
        uint64: rpc.InOutPipe[rpc.uint64],
        float32: rpc.InOutPipe[rpc.float32],
        float64: rpc.InOutPipe[rpc.float64],
        level: rpc.InOutPipe[Level],
    ) -> None:
        raise NotImplementedError

    @rpc.operation
    async def endless(self, p: rpc.OutPipe[rpc.byte]) -> None:
        raise NotImplementedError

    @rpc.operation
    async def unfinished(self, p: rpc.OutPipe[Point]) -> None:
        raise NotImplementedError

    @rpc.operation
    async def value(self, number: int) -> None:
        raise NotImplementedError


async def drained(pipe: Any) -> list[Any]:
    return [each async for chunk in pipe for each in chunk]


async def fill(pipe: Any, elements: Any) -> None:
    await pipe.push(elements)
    await pipe.close()


class PipesManager(Pipes):
    def __init__(self) -> None:
        self.moved = threading.Event()

    async def samples(self, p: rpc.InOutPipe[Sample]) -> str:
        elements = await drained(p)
        await fill(p, elements)
        return repr(elements)

    async def points(self, n: int, p: rpc.OutPipe[Point]) -> str:
        await fill(p, [Point(each, each / 2) for each in range(n)])
        return "done"

    async def take(self, p: Annotated[rpc.InPipe[Point], rpc.Range(2, 3)]) -> int:
        return len(await drained(p))

    async def numbers(self, p: rpc.InOutPipe[rpc.int32]) -> int:
        elements: list[int] = []
        async for chunk in p:
            elements += chunk
            self.moved.set()
        await fill(p, elements)
        return len(elements)

    async def scalars(
        self,
        byte: Any,
        boolean: Any,
        int8: Any,
        int16: Any,
        int32: Any,
        int64: Any,
        uint8: Any,
        uint16: Any,
        uint32: Any,
        uint64: Any,
        float32: Any,
        float64: Any,
        level: Any,
    ) -> None:
        pipes = [byte, boolean, int8, int16, int32, int64, uint8, uint16, uint32, uint64]
        pipes += [float32, float64, level]
        received = [await drained(pipe) for pipe in pipes]
        for pipe, elements in zip(pipes, received, strict=True):
            await fill(pipe, elements)

    async def endless(self, p: rpc.OutPipe[rpc.byte]) -> None:
        while True:
            await p.push(bytes(2**16))

    async def unfinished(self, p: rpc.OutPipe[Point]) -> None:
        await p.push([Point(1, 2.5)])
        await trio.sleep_forever()

    async def value(self, number: int) -> None:
        pass


@pytest.fixture(autouse=True)
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipesManager]:
    served = PipesManager()
    with as_users_have_it(monkeypatch):
        with in_trio(partial(serving, served, at=NAME, introspection=True)):
            yield served


def called(
    *arguments: str | Path, text: bytes | None = None, status: int = 0
) -> subprocess.CompletedProcess[bytes]:
    result = here("call", NAME, *arguments, text=text)
    assert result.returncode == status, result.stderr
    return result


def refused(*arguments: str) -> str:
    """Returns the one line of a call that fails."""
    return complaint(called(*arguments, status=1))


def sample(**changes: Any) -> dict[str, Any]:
    cell = {"flag": True, "letter": 255, "level": 2}
    fields = {
        "time": -(2**63),
        "cell": cell,
        "channels": [0.5, -1.0],
        "cells": [cell, {"flag": False, "letter": 0, "level": 1}],
        "grid": [[0, 1], [2, 65535]],
    }
    return fields | changes


def listed(*elements: Any) -> str:
    return json.dumps(elements, separators=(",", ":"))


# Structures


def test_structures_are_json_objects_in_both_directions() -> None:
    elements = [sample(), sample(time=2**63 - 1)]
    result = called("Pipes.samples", f"p={json.dumps(elements)}")
    lines = result.stdout.decode().splitlines()
    assert lines == [json.dumps(each, separators=(",", ":")) for each in elements]
    assert b"Cell(flag=True, letter=255, level=<Level.HIGH: 2>)" in result.stderr


def test_structures_go_to_files_and_back_as_in_memory(tmp_path: Path) -> None:
    file, copy = tmp_path / "points", tmp_path / "copy"
    octets = struct.pack("<qdqd", 0, 0.0, 1, 0.5)
    assert json.loads(called("Pipes.points", "n=2", f"p=@{file}").stdout) == "done"
    assert file.read_bytes() == octets
    assert called("Pipes.points", "n=2", "--raw").stdout == octets
    assert json.loads(called("Pipes.take", f"p=@{file}").stdout) == 2

    called("Pipes.samples", f"p={listed(sample())},@{file}")
    called("Pipes.samples", f"p=@{file},@{copy}")
    assert len(file.read_bytes()) == 48
    assert copy.read_bytes() == file.read_bytes()


def test_a_pipe_can_have_no_structures(tmp_path: Path) -> None:
    assert called("Pipes.points", "n=0").stdout == b""
    assert called("Pipes.samples", "p=[]").stdout == b""
    assert json.loads(called("Pipes.take", "p=-").stdout) == 0


def test_the_range_of_a_pipe_of_structures_holds() -> None:
    elements = [{"t": 1, "v": 2}] * 5
    assert json.loads(called("Pipes.take", f"p={listed(*elements)}").stdout) == 5
    said = refused("Pipes.take", f"p={listed(elements[0])}")
    assert "1 element for the pipe p cannot be cut into chunks of 2 to 3" in said


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ([{"t": 1, "v": 1}, {"t": "x", "v": 1}], "Expected `int`, got `str` - at `$.t`"),
        ([{"t": 1, "v": 1}, {"t": 1}], "missing required field `v`"),
        ([{"t": 1, "v": 1}, {"t": 1, "v": 1, "w": 1}], "unknown field `w`"),
        ([{"t": 1, "v": 1}, {"t": 2**63, "v": 1}], "Expected `int` <= 9223372036854775807"),
        ([{"t": 1, "v": 1}, [1, 1]], "Expected `object`, got `array`"),
        ([{"t": 1, "v": 1}, None], "Expected `object`, got `null`"),
    ],
)
def test_a_wrong_structure_is_named(elements: list[Any], reason: str) -> None:
    said = refused("Pipes.take", f"p={listed(*elements)}")
    assert "p: element 1 is not a valid {t: int64, v: float64}: " in said
    assert reason in said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"channels": [1.0]}, "length >= 2 - at `$.channels`"),
        ({"channels": [1.0, 1e300]}, "float too large"),
        ({"cell": {"flag": 2, "letter": 0, "level": 1}}, "Expected `bool`, got `int`"),
        ({"cell": {"flag": True, "letter": 256, "level": 1}}, "<= 255 - at `$.cell.letter`"),
        ({"cell": {"flag": True, "letter": "a", "level": 1}}, "Expected `int`, got `str`"),
        ({"grid": [[1, 2], [3, -1]]}, "Expected `int` >= 0 - at `$.grid[1][1]`"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], reason: str) -> None:
    said = refused("Pipes.samples", f"p={listed(sample(**changes))}")
    assert "p: element 0 is not a valid {time: int64, " in said
    assert reason in said


# Scalars

LIMITS: dict[str, list[Any]] = {
    "byte": [97, 10],
    "boolean": [True, False],
    "int8": [-(2**7), 2**7 - 1],
    "int16": [-(2**15), 2**15 - 1],
    "int32": [-(2**31), 2**31 - 1],
    "int64": [-(2**63), 2**63 - 1],
    "uint8": [0, 2**8 - 1],
    "uint16": [0, 2**16 - 1],
    "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**64 - 1],
    "float32": [0.5, -(2.0**127)],
    "float64": [0.1, -1e300],
    "level": [1, 2],
}


def test_every_type_of_element_goes_both_ways(tmp_path: Path) -> None:
    assert {element_of(each).name for each in _SCALARS} == set(LIMITS) - {"level"}
    written = called("Pipes.scalars", *(f"{name}={json.dumps(LIMITS[name])}" for name in LIMITS))
    lines = written.stdout.decode().splitlines()
    assert lines[0] == "a", "bytes are text"
    assert [json.loads(line) for line in lines[1:]] == [
        each for name in list(LIMITS)[1:] for each in LIMITS[name]
    ]

    called("Pipes.scalars", *(f"{n}={json.dumps(LIMITS[n])},@{tmp_path / n}" for n in LIMITS))
    letters = dict(zip(LIMITS, "B?bhiqBHIQfdi", strict=True))
    for name, elements in LIMITS.items():
        octets = (tmp_path / name).read_bytes()
        assert octets == struct.pack(f"<2{letters[name]}", *elements)
    again = called("Pipes.scalars", *(f"{name}=@{tmp_path / name}" for name in LIMITS))
    assert again.stdout == written.stdout


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("int8=[0,128]", "int8: element 1 is 128, which is not a valid int8"),
        ("uint16=[-1]", "uint16: element 0 is -1, which is not a valid uint16"),
        ("uint64=[18446744073709551616]", "uint64: element 0 is 18446744073709551616"),
        ("float32=[1,2,1e300]", "float32: element 2 is 1e+300, which is not a valid float32"),
        ("boolean=[2]", "boolean: element 0 is 2, which is not a valid boolean"),
        ("byte=[256]", "byte: element 0 is 256, which is not a valid byte"),
        ('int32=[{"a": 1}]', "int32: element 0 is {'a': 1}, which is not a valid int32"),
    ],
)
def test_a_wrong_number_is_named(argument: str, reason: str) -> None:
    name = argument.partition("=")[0]
    others = [f"{each}=[]" for each in LIMITS if each != name]
    assert reason in refused("Pipes.scalars", argument, *others)


def test_an_argument_that_cannot_be_sent_is_named() -> None:
    said = refused("Pipes.value", f"number={2**64}")
    assert "the argument number cannot be sent" in said


def test_an_argument_that_is_not_text_is_named() -> None:
    for arguments in (("Pipes.value", "number=\udcff"), ("Pipes.numbers", "p=[\udcff]")):
        assert "is not valid Unicode" in refused(*arguments)


def test_json_with_too_many_levels_is_one_line() -> None:
    for arguments in (("Pipes.value", "number="), ("Pipes.numbers", "p=")):
        said = refused(arguments[0], arguments[1] + "[" * 20_000)
        assert "too many levels" in said


def test_an_incomplete_character_at_the_end_is_shown() -> None:
    escaped = text_of(element_of(rpc.byte), is_terminal=True)
    assert escaped is not None
    shown = [escaped(chunk) for chunk in (b"a\xc3", b"\xa4\xc3", b"")]
    assert b"".join(shown) == "a\xe4\\xc3".encode()


# Source and sink


@pytest.mark.parametrize(
    "argument", ["p=[1,2]", "p= [1, 2]", "p=[1,2],-", "p=@{source}", "p=@{source},-"]
)
def test_a_pipe_in_both_directions_goes_to_standard_output(argument: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(struct.pack("<2i", 1, 2))
    result = called("Pipes.numbers", argument.format(source=source))
    assert result.stdout.split() == [b"1", b"2"]


@pytest.mark.parametrize("source", ["[1,2]", "@{source}", "-"])
def test_a_pipe_in_both_directions_goes_to_a_file(source: str, tmp_path: Path) -> None:
    file, sink = tmp_path / "source", tmp_path / "sink"
    octets = struct.pack("<2i", 1, 2)
    file.write_bytes(octets)
    called("Pipes.numbers", f"p={source.format(source=file)},@{sink}", text=octets)
    assert sink.read_bytes() == octets


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("p=[1,-", "[1 is not valid JSON: it ends too early"),
        ("p=[1,2", "[1,2 is not valid JSON: it ends too early"),
        ("p=[1,2],out", "[1,2],out is not valid JSON: trailing characters"),
        ("p={},-", "not {}"),
        ("p=", "is not valid JSON: it ends too early"),
    ],
)
def test_a_wrong_source_says_how_a_pipe_in_both_directions_is_given(
    argument: str, reason: str
) -> None:
    said = refused("Pipes.numbers", argument)
    assert "in both directions (p=SOURCE,SINK), and its source is @FILE, - or a JSON list" in said
    assert reason in said


def test_a_sink_is_a_file_or_standard_output(tmp_path: Path) -> None:
    assert "p goes to @FILE or -, not to out" in refused("Pipes.numbers", "p=-,out")
    assert "p goes to @FILE or -, not to out" in refused("Pipes.points", "n=1", "p=out")


def test_input_that_ends_inside_an_element_is_a_failure() -> None:
    result = called("Pipes.take", "p=-", text=bytes(17), status=1)
    assert "the input of p ends inside an element" in one_line(result.stderr)


# The end of a sink, and Ctrl-C


def test_elements_are_written_at_once() -> None:
    with running("call", NAME, "Pipes.unfinished") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b'{"t":1,"v":2.5}\n'


@with_full_device
@pytest.mark.parametrize("count", [1, 10_000])
def test_a_full_disk_is_one_line(count: int) -> None:
    arguments = ("Pipes.points", f"n={count}")
    assert "cannot write what came through p: " in refused(*arguments, f"p=@{FULL}")
    with FULL.open("wb") as full, running("call", NAME, *arguments, stdout=full) as process:
        _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert "cannot write to standard output: " in one_line(said)


@posix_signals  # Windows has another text
@pytest.mark.parametrize("count", [1, 10_000])
def test_an_output_without_a_reader_is_one_line(count: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    arguments = ("call", NAME, "Pipes.points", f"n={count}")
    with open(writing, "wb") as stdout, running(*arguments, stdout=stdout) as process:
        _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert "cannot write to standard output: Broken pipe" in one_line(said)


def interrupted(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """Presses Ctrl-C, and leaves the standard streams as they are: (status, standard error)."""
    press_ctrl_c(process)
    status = process.wait(LIMIT)
    assert process.stderr is not None
    return status, process.stderr.read()


@posix_signals
def test_ctrl_c_ends_a_call_that_waits_for_its_input(manager: PipesManager) -> None:
    arguments = ("call", NAME, "Pipes.numbers", "p=-")
    with running(*arguments, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(bytes(4))
        process.stdin.flush()
        assert manager.moved.wait(LIMIT), "an element is passed on before the next one is there"
        assert interrupted(process) == (130, b"")


@posix_signals
def test_ctrl_c_ends_a_call_whose_output_is_not_read() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb") as stdout:
        with running("call", NAME, "Pipes.endless", stdout=stdout) as process:
            eventually(lambda: not select.select([], [stdout], [], 0)[1])
            assert interrupted(process) == (130, b"")


@posix_files
def test_ctrl_c_ends_a_call_that_opens_a_fifo(tmp_path: Path) -> None:
    source, sink = (make_fifo(tmp_path / name) for name in ("source", "sink"))
    with running("call", NAME, "Pipes.numbers", f"p=@{source},@{sink}") as process:
        with source.open("wb"):  # waits until the process opens it; it opens the sink next
            assert interrupted(process) == (130, b"")


@posix_files
def test_standard_streams_that_do_not_block_are_one_line() -> None:
    if sys.platform == "win32":
        return  # for type checkers
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        os.set_blocking(descriptor, False)
    with open(reading, "rb") as empty, open(writing, "wb") as full:
        with running("call", NAME, "Pipes.numbers", "p=-", stdin=empty) as process:
            _, said = process.communicate(timeout=LIMIT)
        assert process.returncode == 1
        assert "cannot read the input of p: another process has set O_NONBLOCK" in one_line(said)
        with running("call", NAME, "Pipes.endless", stdout=full) as process:
            _, said = process.communicate(timeout=LIMIT)
        assert process.returncode == 1
        assert "cannot write to standard output: " in one_line(said)


# Servers that describe elements that this version does not know


@pytest.mark.parametrize(
    "element",
    [
        PipeDescription("int128", 16, 8, "16s"),
        PipeDescription("int32", 4, 4, "f"),
        PipeDescription("int32", 0, 0, "i"),
        PipeDescription("{a: int8}", 2, 1, "b"),
        PipeDescription("{a: int8}", 1, 1, "B"),
        PipeDescription("{a: int128}", 16, 8, "q"),
        PipeDescription("{a: int8, a: int8}", 2, 1, "bb"),
        PipeDescription("{a: int8[0]}", 0, 1, ""),
        PipeDescription("{a: int8[99999999999999999999]}", 1, 1, "b"),
        PipeDescription("{a: int8" + "[1]" * 5000 + "}", 1, 1, "b"),
        PipeDescription("{a: " * 5000 + "int8" + "}" * 5000, 1, 1, "b"),
        PipeDescription("{a: int8", 1, 1, "b"),
        PipeDescription("{}", 0, 1, ""),
        PipeDescription("{__class__: int8, _rpc_names: int8}", 2, 1, "bb"),
    ],
    ids=lambda each: each.element[:40],
)
def test_elements_of_unknown_layout_are_refused(element: PipeDescription) -> None:
    parameter = ParameterDescription("p", "in", element.element, pipe=element)
    operation = OperationDescription("take", [parameter], "None")
    interface = InterfaceDescription("Pipes", str(Pipes._rpc_definition.uuid), (1, 0), [operation])
    with pytest.raises(Failure, match=r"the elements of p as .* does not know"):
        with_known_elements(definition_of(interface).operations["take"])


def test_a_wrong_description_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = OperationDescription("value", [], "None")
    wrong = InterfaceDescription("Pipes", "no UUID", (1, 0), [operation])
    monkeypatch.setattr(IntrospectionManager, "interfaces", lambda _: [wrong])
    with in_trio(partial(serving, PipesManager(), at="wrong", introspection=True)):
        result = here("call", "wrong", "Pipes.value")
    assert "the server's description of Pipes is wrong: " in complaint(result)
