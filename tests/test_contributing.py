"""CONTRIBUTING.md agrees with the code: its rooms, paths, names and commands exist."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_layers import ROOMS, WITHOUT_IO

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "ipcpipes"
DOCUMENT = ROOT / "CONTRIBUTING.md"
# The sdist does not have these.
ONLY_IN_THE_REPOSITORY = (".ci", ".github")

if not DOCUMENT.exists() or not SOURCES.exists():
    pytest.skip("the document and the sources are not beside the tests", allow_module_level=True)

TEXT = DOCUMENT.read_text("utf-8")
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPANS = re.findall(r"`([^`\n]+)`", BLOCK.sub("", TEXT))
PATH = re.compile(r"[\w.{},/-]*(?:/|\.(?:py|pyi|c|cdef|md|sh))[\w.{},/-]*")
FILE = re.compile(r"[\w.{},/-]+\.(?:py|pyi|c|cdef|md|sh)")
REFERENCE = re.compile(rf"({FILE.pattern}): ([\w.]+)")
# Not to be found: in the explanation of the notation, and in commands.
PLACEHOLDERS = (".cdef", "a/{b,c}/d.py", "a/b/d.py", "a/c/d.py", "path: name", "tests/test_x.py")


def expanded(path: str) -> list[str]:
    """``a/{b,c}/d`` is ``a/b/d`` and ``a/c/d``."""
    parts = re.split(r"\{([^}]*)\}", path)
    choices = [part.split(",") if odd % 2 else [part] for odd, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def found(path: str) -> Path | None:
    """The file or folder, which is below the sources or the top of the repository."""
    for base in (SOURCES, ROOT):
        if (base / path).exists() and (not path.endswith("/") or (base / path).is_dir()):
            return base / path
    return None


def references() -> Iterator[tuple[str, str]]:
    for span in SPANS:
        if span not in PLACEHOLDERS and (match := REFERENCE.fullmatch(span)):
            for path in expanded(match[1]):
                yield path, match[2]


def paths() -> Iterator[str]:
    """The paths in the text: alone, in references, and in commands."""
    commands = [span for span in SPANS if " " in span and ": " not in span]
    words = " ".join([*commands, *BLOCK.findall(TEXT)]).split()
    for one in (*SPANS, *filter(FILE.fullmatch, words)):
        if PATH.fullmatch(one) and one not in PLACEHOLDERS:
            yield from expanded(one)
    for path, _ in references():
        yield path


def table_below(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = TEXT.split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None, heading
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table[0].splitlines()]
    return rows[2:]


def room_of(path: str) -> str:
    """The name that the test of the layers has for it."""
    name = re.sub(r"\.pyi?$|/$", "", path.strip("`"))
    return re.sub(r"/__init__$", "", name).replace("/", ".")


def names_in(path: Path) -> set[str]:
    """What a file defines: functions, classes, methods and variables."""
    text = path.read_text("utf-8")
    if path.suffix == ".c":
        return set(re.findall(r"^\w[\w *]*?(\w+)\([^;]*?\)\n\{", text, re.MULTILINE))
    names: set[str] = set()

    def add(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                add(node.body, f"{node.name}.")
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            names.update(prefix + one.id for one in targets if isinstance(one, ast.Name))

    add(ast.parse(text).body, "")
    return names


def test_every_path_exists() -> None:
    seen = set(paths())
    assert {"opening.py", "_native/posix.c", "tests/test_layers.py", "docs/"} <= seen
    for path in seen:
        if (ROOT / ".ci").exists() or not path.startswith(ONLY_IN_THE_REPOSITORY):
            assert found(path), f"CONTRIBUTING.md names {path}, which does not exist"


def test_every_name_exists_in_its_file() -> None:
    for span in SPANS:
        if ": " in span and span not in PLACEHOLDERS:
            assert REFERENCE.fullmatch(span), f"{span!r} is not of the form 'path: name'"
    seen = set(references())
    assert ("_native/posix.c", "ipc_connect") in seen
    assert ("opening.py", "ConnectRequest.attempt") in seen
    assert len(seen) > 80
    for path, name in seen:
        file = found(path)
        assert file is not None, path
        assert name in names_in(file), f"CONTRIBUTING.md names {name}, which is not in {path}"


def test_table_of_rooms_has_the_order_of_imports() -> None:
    rows = table_below("## The rooms")
    assert [room_of(path) for path, _ in rows] == ROOMS
    without_io = {room_of(path) for path, purpose in rows if purpose.startswith("**No I/O.**")}
    assert without_io == set(WITHOUT_IO)


def test_every_folder_is_named() -> None:
    named = {path.rstrip("/") for path in paths()}
    packages = [
        file.parent.relative_to(SOURCES).as_posix()
        for file in SOURCES.rglob("__init__.py")
        if file.parent != SOURCES
    ]
    assert "_os/posix/trio" in packages
    folders = re.findall(r"^graft (\S+)$", (ROOT / "MANIFEST.in").read_text("utf-8"), re.MULTILINE)
    assert "campaigns" in folders
    for folder in (*packages, *folders):
        assert folder in named or f"{folder}/__init__.py" in named, folder


def test_every_nox_session_is_named_and_exists() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    sessions = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(one).startswith("nox.session") for one in node.decorator_list)
    }
    assert "py314" in sessions
    named: set[str] = set()
    for words in re.findall(r"nox -s((?: [a-z]\w*)+)", TEXT):
        named.update(words.split())
    assert named == sessions


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert links
    for link in links:
        if link.startswith("#"):
            assert link[1:] in headings, link
        elif ":" not in link:
            assert (ROOT / link).exists(), link
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "](CONTRIBUTING.md)" in readme.split("## Working on it")[1]


def test_words_of_the_vocabulary_are_used() -> None:
    code = "\n".join(file.read_text("utf-8") for file in SOURCES.rglob("*.py")).lower()
    words = [word for row in table_below("## Vocabulary") for word in row[0].split(", ")]
    assert "listener" in words
    for word in words:
        assert re.search(rf"(?<![a-z]){word}s?(?![a-z])", code), f"the code does not use {word!r}"
