"""``python -m ipcpipes call`` against a server in another thread.

A test runs the command in this process, or in one of its own where the standard streams matter.
"""

from __future__ import annotations

import enum
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pytest
import trio

from ipcpipes import rpc

from .echo_runs import LIMIT, as_users_have_it, finish, here, running
from .rpc_over_links import serving
from .terminals import posix_terminal, shown, terminal
from .threads import in_trio

NAME = "call-test"


# Clears the screen, also by a C1 control character; reverses the text; rings the bell.
EVIL = "\x1b[2J\x9b2J\u202e\x07"
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def documented(text: str) -> Callable[[FunctionT], FunctionT]:
    def document(function: FunctionT) -> FunctionT:
        function.__doc__ = text
        return function

    return document


class Point(rpc.Structure):
    x: rpc.int32
    y: rpc.int32


class Colour(enum.Enum):
    RED = "red"
    FIVE = "5"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Person:
    name: str
    age: int = 0
    friends: list[Person] = field(default_factory=list)


class Tools(rpc.Interface, uuid="a6d7f9c0-3b1e-4b0a-9a51-0f8a4c1d2e33", version=(1, 2)):
    """The interface that the tests call."""

    @rpc.operation
    def join(self, words: list[str], separator: str = " ") -> str:
        """Joins words.

        With something in between.
        """
        raise NotImplementedError

    @rpc.operation
    async def total(self, scale: int, numbers: rpc.InPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def count(self, up_to: int, numbers: rpc.OutPipe[rpc.int32]) -> str:
        raise NotImplementedError

    @rpc.operation
    async def upper(self, text: rpc.InOutPipe[rpc.byte]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def points(
        self, points: Annotated[rpc.InPipe[Point], rpc.Range(1, 10)]
    ) -> list[tuple[int, int]]:
        raise NotImplementedError

    @rpc.operation
    async def fail(self) -> None:
        raise NotImplementedError

    @rpc.operation
    def paint(
        self,
        who: Person | None = None,
        colour: Colour = Colour.RED,
        level: Level = Level.LOW,
        note: str | None = None,
        number: int | str = 0,
    ) -> str:
        raise NotImplementedError

    @rpc.operation
    async def octets(self, octets: rpc.OutPipe[rpc.uint8], text: rpc.OutPipe[rpc.byte]) -> None:
        raise NotImplementedError

    @rpc.operation
    @documented(f"Clears your screen: {EVIL}")
    async def evil(self, text: str) -> str:
        raise NotImplementedError

    @rpc.operation
    async def hang(self) -> None:
        raise NotImplementedError

    @rpc.operation
    @rpc.options(maybe=True)
    async def note(self, text: str) -> None:
        raise NotImplementedError

    @rpc.operation
    def store(self, data: bytes, key: bytes | None = None) -> str:
        raise NotImplementedError


class ToolsManager(Tools):
    def join(self, words: list[str], separator: str = " ") -> str:
        return separator.join(words)

    async def total(self, scale: int, numbers: rpc.InPipe[rpc.int32]) -> int:
        return scale * sum([sum(chunk) async for chunk in numbers])

    async def count(self, up_to: int, numbers: rpc.OutPipe[rpc.int32]) -> str:
        await numbers.push(range(1, up_to + 1))
        await numbers.close()
        return "counted"

    async def upper(self, text: rpc.InOutPipe[rpc.byte]) -> int:
        octets = b"".join([bytes(chunk) async for chunk in text])
        await text.push(octets.upper())
        await text.close()
        return len(octets)

    async def points(
        self, points: Annotated[rpc.InPipe[Point], rpc.Range(1, 10)]
    ) -> list[tuple[int, int]]:
        return [(point.x, point.y) async for chunk in points for point in chunk]

    async def fail(self) -> None:
        raise ValueError("two\nlines")

    def paint(
        self,
        who: Person | None = None,
        colour: Colour = Colour.RED,
        level: Level = Level.LOW,
        note: str | None = None,
        number: int | str = 0,
    ) -> str:
        return repr((who, colour, level, note, number))

    async def octets(self, octets: rpc.OutPipe[rpc.uint8], text: rpc.OutPipe[rpc.byte]) -> None:
        await octets.push([0, 27, 255])
        await octets.close()
        await text.push(b"text\n\x1b[2J")
        await text.close()

    async def evil(self, text: str) -> str:
        if text == "raise":
            raise LookupError(EVIL)
        return EVIL

    async def hang(self) -> None:
        await trio.sleep_forever()

    async def note(self, text: str) -> None:
        pass

    def store(self, data: bytes, key: bytes | None = None) -> str:
        return repr((data, key))


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        yield directory


@contextmanager
def served(*, introspection: bool = True) -> Iterator[None]:
    serve = partial(serving, ToolsManager(), at=NAME, introspection=introspection)
    with in_trio(serve):
        yield


def called(
    *arguments: str | Path,
    text: bytes | None = None,
    status: int = 0,
    run: Callable[..., subprocess.CompletedProcess[bytes]] = here,
) -> subprocess.CompletedProcess[bytes]:
    result = run("call", NAME, *arguments, text=text)
    assert result.returncode == status, result.stderr
    assert b"Traceback" not in result.stderr
    return result


def test_without_an_operation_the_server_is_listed() -> None:
    with served():
        listing = called(run=finish).stdout.decode()
    assert f"Tools 1.2 ({Tools._rpc_definition.uuid})" in listing
    assert "  join(words: list[str], separator: str = ' ') -> str\n      Joins words.\n" in (
        listing.replace("\r\n", "\n")
    )
    assert "total(scale: int, numbers: in pipe of int32) -> int" in listing
    assert "upper(text: inout pipe of byte) -> int" in listing


def test_values_are_json_or_text() -> None:
    with served():
        result = called("Tools.join", 'words=["a", "b"]', "separator=-x-")
    assert json.loads(result.stdout) == "a-x-b"


def test_a_text_parameter_takes_any_text() -> None:
    with served():
        for separator in ("5", "true", "null", "[1]", '"', "{", "1.0", ""):
            result = called("Tools.join", 'words=["a", "b"]', f"separator={separator}")
            assert json.loads(result.stdout) == f"a{separator}b"
        result = called("Tools.join", 'words=["a", "b"]', 'separator="\\t"')
        assert json.loads(result.stdout) == "a\tb", "in quotes it is JSON"
        for number, expected in (
            ("5", "5"),
            ("five", "'five'"),
            ('"5"', "'5'"),
            ("true", "'true'"),
        ):
            shown = json.loads(called("Tools.paint", f"number={number}").stdout)
            assert shown.endswith(f", {expected})")
        for note, expected in (("null", "None"), ("5", "'5'"), ("none", "'none'")):
            shown = json.loads(called("Tools.paint", f"note={note}").stdout)
            assert shown.endswith(f", {expected}, 0)")


def test_classes_and_enumerations_are_listed_and_sent() -> None:
    with served():
        result = called("Tools.paint", 'who={"name": "Ada"}', "colour=5", "level=2")
        assert json.loads(result.stdout) == repr(
            (Person("Ada", 0, []), Colour.FIVE, Level.HIGH, None, 0)
        )
        listing = called().stdout.decode().replace("\r\n", "\n")
    assert "\n  type Person = {name: str, age: int = 0, friends: list[Person] = []}\n" in listing
    assert '\n  type Colour = "red" | "5"\n' in listing
    assert "\n  type Level = 1 | 2\n" in listing


@pytest.mark.parametrize(
    ("argument", "where"),
    [
        ("words=['a', 'b']", "invalid character, at character 2"),
        ('words=["ä", b]', "invalid character, at character 7"),
        ('words=["a"', "it ends too early, at character 5"),
        ('words=["a",]', "trailing comma in array, at character 6"),
        ("words=a", "invalid character, at character 1"),
        ("words=", "it ends too early, at character 1"),
    ],
)
def test_malformed_json_is_reported_with_its_position(argument: str, where: str) -> None:
    with served():
        said = called("Tools.join", argument, status=1).stderr.decode()
    assert "words is list[str]" in said
    assert where in said


def test_control_characters_of_a_server_are_escaped() -> None:
    with served():
        listing = called()
        returned = called("Tools.evil", "text=return")
        raised = called("Tools.evil", "text=raise", status=1)
    assert json.loads(returned.stdout) == EVIL
    for said in (listing.stdout, returned.stdout, raised.stderr):
        text = said.decode().replace("\r\n", "\n")
        assert "2J" in text
        assert all(each.isprintable() for line in text.split("\n") for each in line)


def test_pipes_print_numbers_and_raw_bytes(tmp_path: Path) -> None:
    file = tmp_path / "octets"
    with served():
        result = called("Tools.octets", f"text=@{file}")
        assert result.stdout.split() == [b"0", b"27", b"255"]
        assert file.read_bytes() == b"text\n\x1b[2J"
        result = called("Tools.octets", f"text=@{file}", "--raw", run=finish)
        assert result.stdout == b"\x00\x1b\xff"
        result = called("Tools.octets", f"octets=@{file}", run=finish)
        assert result.stdout == b"text\n\x1b[2J", "to a pipe, as they are"
        assert file.read_bytes() == b"\x00\x1b\xff"
        result = called("Tools.count", "up_to=2", "--raw")
        assert result.stdout == bytes([1, 0, 0, 0, 2, 0, 0, 0])


@posix_terminal
def test_bytes_of_a_pipe_are_escaped_on_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "octets"
    with terminal() as (master, slave):
        with served():
            with running("call", NAME, "Tools.octets", f"octets=@{file}", stdout=slave) as process:
                said = shown(master, until=b"[2J")
                assert process.wait(LIMIT) == 0
    assert b"text\r\n\\x1b[2J" in said


def test_options_can_stand_anywhere() -> None:
    expected = bytes([1, 0, 0, 0, 2, 0, 0, 0])
    words = ["call", NAME, "Tools.count", "up_to=2", "numbers=-"]
    options = ["--timeout", "30", "--raw", "--wait", "0"]
    with served():
        for place in range(1, len(words) + 1):
            arguments = [*words[:place], *options, *words[place:]]
            result = here(*arguments)
            assert (result.returncode, result.stdout) == (0, expected), result.stderr
        result = called("--wait", "0", "Tools.count", "--raw", "up_to=2", "--timeout", "30")
        assert result.stdout == expected


def test_bytes_are_given_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "octets"
    file.write_bytes(b"\x00\xff\n")
    with served():
        for arguments, expected in (
            ([f"data=@{file}"], (b"\x00\xff\n", None)),
            (["data=-"], (b"\xfe", None)),
            (["data=-", f"key=@{file}"], (b"\xfe", b"\x00\xff\n")),
            (["data=-", "key=null"], (b"\xfe", None)),
        ):
            result = called("Tools.store", *arguments, text=b"\xfe")
            assert json.loads(result.stdout) == repr(expected)
        listing = called().stdout.decode()
    assert "give data=@FILE for the bytes of a file" in listing
    assert "give key=@FILE for the bytes of a file" in listing
    assert listing.count("=@FILE") == 2, "of bytes only"


def test_parameters_with_defaults_are_optional() -> None:
    with served():
        assert json.loads(called("Tools.join", 'words=["a", "b"]').stdout) == "a b"


def test_a_pipe_is_filled_from_json_a_file_or_stdin(
    tmp_path: Path,
) -> None:
    octets = b"".join(number.to_bytes(4, "little") for number in (1, 2, 3))
    file = tmp_path / "numbers"
    file.write_bytes(octets)
    with served():
        for source, text in (("[1, 2, 3]", None), (f"@{file}", None), ("-", octets)):
            result = called("Tools.total", "scale=2", f"numbers={source}", text=text, run=finish)
            assert json.loads(result.stdout) == 12


def test_numbers_go_to_stdout_and_the_result_to_stderr() -> None:
    with served():
        result = called("Tools.count", "up_to=3", run=finish)
    assert result.stdout.split() == [b"1", b"2", b"3"]
    assert b'result: "counted"' in result.stderr


def test_a_file_receives_elements_as_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    with served():
        result = called("Tools.count", "up_to=2", f"numbers=@{file}")
    assert file.read_bytes() == bytes([1, 0, 0, 0, 2, 0, 0, 0])
    assert json.loads(result.stdout) == "counted"


def test_a_pipe_in_both_directions_takes_a_source_and_a_sink(tmp_path: Path) -> None:
    source, sink = tmp_path / "source", tmp_path / "sink"
    source.write_bytes(b"abc" * 100_000)
    with served():
        result = called("Tools.upper", f"text=@{source},@{sink}")
        assert json.loads(result.stdout) == 300_000
        assert sink.read_bytes() == b"ABC" * 100_000
        assert called("Tools.upper", f"text=@{source}").stdout == b"ABC" * 100_000


def test_structures_are_read_as_bytes(tmp_path: Path) -> None:
    file = tmp_path / "points"
    file.write_bytes(bytes([1, 0, 0, 0, 2, 0, 0, 0]) * 3)
    with served():
        result = called("Tools.points", f"points=@{file}")
    assert json.loads(result.stdout) == [[1, 2]] * 3


def test_a_maybe_operation_prints_nothing() -> None:
    with served():
        assert called("Tools.note", "text=hello").stdout == b""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("Tools.nothing",), "Tools has no operation nothing"),
        (("Nothing.join",), "no interface Nothing; it has Tools"),
        (("join",), "not INTERFACE.OPERATION"),
        (("Tools.join", "words"), "words is not name=value"),
        (("Tools.join", "letters=[]"), "it takes words, separator"),
        (("Tools.join", "words=[]", "words=[]"), "words is given twice"),
        (("Tools.join",), "is missing the argument 'words'"),
        (("Tools.join", "words=3"), "Expected `array`, got `int` - at `words`"),
        (("Tools.total", "scale=1"), "numbers=@FILE"),
        (("Tools.total", "scale=1", "numbers=7"), "@FILE, - or a JSON list"),
        (("Tools.total", "scale=1", "numbers=@nowhere"), "nowhere: "),
        (
            ("Tools.store", "data=abc"),
            "data is bytes (data=@FILE, or data=- for standard input), not abc",
        ),
        (("Tools.store", "data=-", "key=abc"), "(key=@FILE, or key=- for standard input), and abc"),
        (("Tools.store", "data=@nowhere"), "nowhere: "),
        (("Tools.store", "data=-", "key=-"), "only one argument can be read from standard input"),
        (("Tools.fail",), "ValueError: two lines"),
        (("Tools.hang", "--timeout", "0.2"), "took longer than its 0.2 s"),
    ],
)
def test_a_failure_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    with served():
        result = called(*arguments, status=1)
    said = result.stderr.decode().splitlines()
    assert len(said) == 1
    assert line in said[0]
    assert result.stdout == b""


def test_a_server_without_introspection_is_a_failure() -> None:
    with served(introspection=False):
        result = called(status=1)
    assert b"introspection=True" in result.stderr


def test_a_missing_server_is_named() -> None:
    assert b"call-test" in called(status=1, run=finish).stderr


@posix_terminal
def test_a_long_pipe_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    arguments = ("call", NAME, "Tools.total", "scale=1", "numbers=-")
    with terminal() as (master, slave):
        with served():
            with running(*arguments, stdin=subprocess.PIPE, stderr=slave) as process:
                assert process.stdin is not None
                process.stdin.write((1).to_bytes(4, "little") * 2**14)  # which a pipe holds
                process.stdin.flush()
                shown(master, until=b"kB")
                out, _ = process.communicate(timeout=LIMIT)
                assert process.returncode == 0
        shown(master, until=b"\x1b[?25h")  # the cursor, which was hidden, is back
    assert json.loads(out) == 2**14
