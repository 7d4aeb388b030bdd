"""``python -m ipcpipes stubs``: an interface for the other driver, with the same operations."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import linecache
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from ipcpipes.rpc.definition.operations import Definition

from .echo_runs import LIMIT, command, here

LIBRARY = {
    "library/__init__.py": "",
    "library/kinds.py": """
        import enum
        from dataclasses import dataclass
        from typing import Annotated

        from ipcpipes import rpc
        from ipcpipes.rpc import InPipe

        class Size(enum.Enum):
            SMALL = "small"
            LARGE = "large"

        @dataclass
        class Book:
            title: str
            pages: int

        class Point(rpc.Structure):
            x: rpc.int32

        Named = Annotated[InPipe[rpc.int32], rpc.Range(1, 512), rpc.PipeName("NAMED")]
    """,
    "library/books.py": '''
        from __future__ import annotations

        import datetime
        import typing
        from collections.abc import Sequence
        from typing import TYPE_CHECKING, Annotated as Noted, Literal

        from msgspec import Meta

        from ipcpipes import rpc
        from ipcpipes.rpc import OutPipe

        from . import kinds
        from .kinds import Book, Size as BookSize

        try:
            from decimal import Decimal
        except ImportError:
            pass

        LONG = 256
        Numbers = Noted[rpc.InPipe[rpc.int32], rpc.Range(1, LONG), rpc.PipeName("NUMBERS")]
        Short = Noted[str, Meta(max_length=LONG)]

        class Missing(rpc.Fault):
            pass

        class Gone(Missing):
            pass

        class Base(
            rpc.Interface,
            uuid="6f1d2b3c-1111-4a4a-8b8b-0123456789ab",
            version=(1, 0),
            raises=[Gone],
        ):
            @rpc.operation
            async def first(self, since: datetime.datetime, price: Decimal | None = None) -> Book:
                """Returns the first book.

                It is the oldest.
                """

        class Books(
            Base,
            uuid="6f1d2b3c-2222-4a4a-8b8b-0123456789ab",
            version=(2, 3),
            raises=[Missing],
        ):
            """Books, and "quotes"."""

            @rpc.operation
            async def find(
                self,
                words: Sequence[str],
                size: BookSize = BookSize.SMALL,
                order: "Literal['Book', 'title']" = "title",
                limit: int = LONG,
            ) -> dict[str, list[kinds.Book]]: ...

            @rpc.operation
            @rpc.options(idempotent=True, timeout=2.5)
            async def rename(self, book: Short, maximum: typing.Optional[int] = None) -> None: ...

            @rpc.operation
            async def stream(
                self,
                numbers: Numbers,
                found: OutPipe[rpc.float64],
                points: rpc.InOutPipe[kinds.Point],
                data: "rpc.InPipe[rpc.byte]",
            ) -> int: ...
    ''',
    "broken.py": "1 / 0",
    "inside.py": """
        from ipcpipes import rpc

        def make():
            class Inner(rpc.Interface, uuid="6f1d2b3c-3333-4a4a-8b8b-0123456789ab", version=(1, 0)):
                @rpc.operation
                def work(self) -> int: ...
            return Inner

        Inner = make()
        number = 5
    """,
    "gone.py": """
        from ipcpipes import rpc

        class Gone(rpc.Interface, uuid="6f1d2b3c-5555-4a4a-8b8b-0123456789ab", version=(1, 0)):
            @rpc.operation
            async def work(self) -> int: ...
    """,
    "twice.py": """
        from ipcpipes import rpc
        from ipcpipes import blocking

        Blocking = blocking

        class Twice(rpc.Interface, uuid="6f1d2b3c-4444-4a4a-8b8b-0123456789ab", version=(1, 0)):
            @rpc.operation
            async def work(self, kind: int = len(blocking.__name__)) -> int: ...

            @rpc.operation
            async def pull(self, numbers: rpc.InPipe[rpc.int32]) -> int: ...
    """,
}


TWO_MEANINGS = (
    "blocking has two meanings: 'from ipcpipes import blocking' and "
    "'from ipcpipes.rpc import blocking'; give one of them another name"
)
MODULES = {"library", "broken", "inside", "gone", "twice", "books_blocking", "books_trio"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the modules, which can be imported during a test."""
    for name, text in LIBRARY.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [*sys.modules]:
        if name.partition(".")[0] in MODULES:
            del sys.modules[name]


def definition(module: ModuleType, name: str) -> Definition:
    found: Definition = getattr(module, name)._rpc_definition
    return found


def written(folder: Path, place: str, module: str, *options: str) -> ModuleType:
    run = here("stubs", place, *options)
    assert (run.returncode, run.stderr) == (0, b"")
    (folder / f"{module}.py").write_bytes(run.stdout)
    importlib.invalidate_caches()
    return importlib.import_module(module)


def test_interface_for_the_other_driver_is_the_same_interface(folder: Path) -> None:
    blocking_twin = written(folder, "library.books:Books", "books_blocking")
    trio_twin = written(folder, "books_blocking:Books", "books_trio", "--trio")
    original = definition(importlib.import_module("library.books"), "Books")
    # A derived interface has all operations, and each one is named after it.
    expected = [dataclasses.replace(one, interface="Books") for one in original.operations.values()]
    assert len(expected) == 4
    for twin in (blocking_twin, trio_twin):
        other = definition(twin, "Books")
        assert (other.uuid, other.version) == (original.uuid, original.version)
        assert other.documentation == original.documentation
        assert other.raises == original.raises
        # With the types, the defaults, the options, the pipes and the documentation.
        assert [*other.operations.values()] == expected


def test_operations_are_as_the_driver_needs_them(folder: Path) -> None:
    blocking_text, trio_text = (
        inspect.getsource(written(folder, place, module, *options))
        for place, module, options in (
            ("library.books:Books", "books_blocking", []),
            ("books_blocking:Books", "books_trio", ["--trio"]),
        )
    )
    assert blocking_text.count("    def ") == trio_text.count("    async def ") == 4
    assert "async" not in blocking_text
    pipes = re.compile(r"(\w+)\.(?:In|Out|InOut)Pipe")
    assert pipes.findall(blocking_text) == ["blocking"] * 4
    assert pipes.findall(trio_text) == ["rpc"] * 4
    assert blocking_text.startswith("# Written by: python -m ipcpipes stubs library.books:Books\n")
    assert trio_text.startswith(
        "# Written by: python -m ipcpipes stubs books_blocking:Books --trio\n"
    )


def test_names_are_imported_from_where_the_module_has_them(folder: Path) -> None:
    text = inspect.getsource(written(folder, "library.books:Books", "books_blocking"))
    assert re.findall("^(?:import|from) .*$", text, re.MULTILINE) == [
        "from __future__ import annotations",
        "import datetime",
        "import typing",
        "from collections.abc import Sequence",
        "from decimal import Decimal",
        "from ipcpipes import rpc",
        "from ipcpipes.rpc import blocking",
        "from library import kinds",
        "from library.books import Gone",
        "from library.books import LONG",
        "from library.books import Missing",
        "from library.books import Short",
        "from library.kinds import Book",
        "from library.kinds import Size as BookSize",
        "from typing import Annotated as Noted",
        "from typing import Literal",
    ]


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("library.books", "library.books is not MODULE:INTERFACE, such as thumbs:Thumbs"),
        (":Books", ":Books is not MODULE:INTERFACE, such as thumbs:Thumbs"),
        ("library.books:", "library.books: is not MODULE:INTERFACE, such as thumbs:Thumbs"),
        ("nowhere:Books", "cannot import nowhere: ModuleNotFoundError: No module named 'nowhere'"),
        ("broken:Books", "cannot import broken: ZeroDivisionError: division by zero"),
        ("library.books:Nothing", "the module library.books has no Nothing"),
        ("inside:number", "5 is no interface; derive it from rpc.Interface"),
        (
            "inside:Inner",
            "make.<locals>.Inner.work is local to a function; move the interface out",
        ),
        (
            "twice:Twice",
            TWO_MEANINGS,
        ),
        ("gone:Gone", "the source of Gone.work cannot be read"),
    ],
)
def test_errors_are_one_line(place: str, complaint: str, folder: Path) -> None:
    if place.startswith("gone"):
        importlib.import_module("gone")
        (folder / "gone.py").unlink()
        linecache.clearcache()
    run = here("stubs", place)
    assert (run.returncode, run.stdout) == (1, b"")
    assert run.stderr.decode().splitlines() == [f"ipcpipes: {complaint}"]


def test_module_is_found_in_the_current_folder(folder: Path) -> None:
    run = subprocess.run(
        command("stubs", "library.books:Base"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "    def first(self, since: datetime.datetime" in run.stdout
