"""What all commands of ``python -m ipcpipes`` do alike: usage, help, output and exit status."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import ipcpipes

from .echo_runs import (
    LIMIT,
    as_users_have_it,
    command,
    complaint,
    finish,
    here,
    one_line,
    posix_files,
    posix_shell,
    running,
)


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        yield directory


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(4)}"


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["echo", "one", "two"],
        ["echo", "--json", "one", "--rpc", "two"],
        ["echo", "--seconds", "0"],
        ["echo", "--seconds", "inf"],
        ["echo", "--seconds", "soon"],
        ["echo", "--child", "one", "two"],
        ["echo", "--child", "--seconds", "0"],
        ["echo", "--child=yes"],
        ["echo", "--chil"],
        ["echo", "--rpc", "--child"],
        ["echo", "serve", "one", "--rpc", "two"],
        ["echo", "serve", "--child"],
        ["echo", "serve", "name", "--child"],
        ["echo", "send"],
        ["echo", "send", "name", "--child"],
        ["echo", "send", "--child", "name"],
        ["echo", "send", "name", "--wait", "-1"],
        ["echo", "send", "name", "--wait", "nan"],
        ["call"],
    ],
)
def test_wrong_usage_has_status_2(arguments: list[str]) -> None:
    run = here if arguments else finish
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"usage: python -m ipcpipes")


def test_the_version_is_printed() -> None:
    result = finish("--version")
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.split() == [b"ipcpipes", ipcpipes.__version__.encode()]


@pytest.mark.parametrize(
    ("arguments", "purpose", "statuses"),
    [
        (["address"], "for programs in other languages", "0 the address was printed"),
        (["echo"], "--child", "0 all came back right"),
        (["echo", "serve"], "(default: echo)", "1 it could not listen"),
        (["echo", "send"], "progress bar", "0 all came back right"),
        (["call"], "INTERFACE.OPERATION", "0 the list was printed"),
    ],
)
def test_help_explains_the_command_and_its_status(
    arguments: list[str], purpose: str, statuses: str
) -> None:
    result = here(*arguments, "--help")
    text = result.stdout.decode()
    assert (result.returncode, result.stderr) == (0, b"")
    assert purpose in text
    assert f"exit status: {statuses}" in text
    assert "as-child" not in text


def test_hidden_options_are_refused_outside_a_child(name: str) -> None:
    for arguments in (["echo", "--as-child"], ["echo", "serve", name, "--as-child"]):
        assert "this process has no parent to talk to" in complaint(here(*arguments))


def test_options_can_stand_anywhere(tmp_path: Path, name: str) -> None:
    file = tmp_path / "octets"
    file.write_bytes(b"octets")
    with running("echo", "--rpc", "serve", name) as process:
        assert process.stdout is not None
        assert name.encode() in process.stdout.readline()
    with running("echo", "serve", name) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for words in (
            ["echo", "send", "--wait", "1", name, str(file)],
            ["echo", "send", name, "--wait", "1", str(file)],
            ["echo", "send", name, str(file), "--wait=1"],
        ):
            result = here(*words)
            assert (result.returncode, result.stderr) == (0, b"")
            assert result.stdout.startswith(b"6 bytes ")


def test_words_after_two_dashes_are_not_options() -> None:
    for arguments in (["--", "-serve"], ["--json", "--", "-serve"]):
        assert "cannot read -serve: " in complaint(here("echo", *arguments))
    for arguments in (["./serve"], ["--", "serve"]):
        assert "serve: No such file" in complaint(here("echo", *arguments))


# The address


def test_the_address_of_a_name_is_printed(name: str) -> None:
    """With or without a server."""
    address = ipcpipes.Endpoint.named(name).address
    for path in (name, address):
        result = finish("address", path)
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout.decode().splitlines() == [address]
    assert "is not a plain name" in complaint(here("address", "no/slash"))


@posix_files
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict", "utf-16"])
def test_the_address_is_the_bytes_of_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    for text in (b"/\xff\xc3\xa9", b"/a\x1b[2J b"):
        path = os.fsencode(tmp_path) + text
        result = subprocess.run(
            [*command("address"), path], capture_output=True, timeout=LIMIT, check=True
        )
        assert (result.stdout, result.stderr) == (path + b"\n", b"")


# Output


@posix_files
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict"])
def test_characters_without_an_encoding_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Also if the locale is C, and Python may not take another one."""
    for variable, value in (
        ("LC_ALL", "C"),
        ("PYTHONCOERCECLOCALE", "0"),
        ("PYTHONUTF8", "0"),
        ("PYTHONIOENCODING", encoding),
    ):
        monkeypatch.setenv(variable, value)
    path = os.fsencode(tmp_path) + b"/\xff\xc3\xa9"
    for arguments in (["echo", "send"], ["call"], ["echo", "serve"]):
        result = subprocess.run(
            [*command(*arguments), path + b"/s"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert rb"/\xff" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["echo", "--seconds", "0.1"], ["echo", "serve"]]
)
def test_a_closed_pipe_on_standard_output_is_a_failure(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with running(*arguments, stdout=writing) as process:
        os.close(writing)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    # "Broken pipe"; Windows says "Invalid argument".
    assert "cannot write to standard output: " in one_line(err)


@posix_shell
def test_closed_standard_output_is_a_failure() -> None:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command("echo", "serve")]
    result = subprocess.run(shell, capture_output=True, timeout=LIMIT, check=False)
    assert "cannot write to standard output: it is closed" in complaint(result)


@posix_shell
def test_without_standard_error_the_status_still_tells(name: str) -> None:
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command("echo", "send", name)]
    result = subprocess.run(shell, capture_output=True, timeout=LIMIT, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (1, b"", b"")
