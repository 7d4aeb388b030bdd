"""``parent_stream`` and its like in a process that has no parent, or another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import LengthPrefixed, open_child
from ipcpipes.child import handover

from . import programs
from .pairs import receive_exactly


def test_outside_a_child_there_is_a_clear_error() -> None:
    async def ask(manager: Any) -> None:
        with pytest.raises(ipcpipes.NoParent, match=r"ipcpipes\.open_child has not started it"):
            async with manager:
                pass

    for manager in (ipcpipes.parent_stream(), ipcpipes.parent_channel(), ipcpipes.parent_pipes()):
        trio.run(ask, manager)


@pytest.mark.parametrize(
    ("options", "call", "hint"),
    [
        ({}, "parent_channel", "call parent_stream()"),
        ({}, "parent_pipes", "call parent_stream()"),
        ({"framing": LengthPrefixed()}, "parent_stream", "call parent_channel()"),
        ({"pipes": {"log": "receive"}}, "parent_stream", "call parent_pipes()"),
    ],
)
async def test_error_names_the_function_to_call_instead(
    options: dict[str, Any], call: str, hint: str
) -> None:
    program = programs.trio_program(f"""
    try:
        async with ipcpipes.{call}():
            pass
    except ipcpipes.NoParent as error:
        say(error)
    # Nothing was taken: the right question still works.
    async with ipcpipes.{hint.split()[1]}:
        pass
    """)
    lines: list[str] = []
    async with open_child(program, stdout=lines.append, **options) as child:
        await child.wait()
    assert len(lines) == 1
    assert lines[0].endswith(hint)
    assert child.status == 0


async def test_parent_stream_is_taken_once_and_not_inherited() -> None:
    program = programs.trio_program("""
    before = dict(os.environ)
    async with ipcpipes.parent_stream() as stream:
        try:
            async with ipcpipes.parent_stream():
                pass
        except ipcpipes.NoParent as error:
            say(error)
    say(sorted(set(before) - set(os.environ)))
    """)
    lines: list[str] = []
    async with open_child(program, stdout=lines.append):
        pass
    assert lines[0].endswith("or it has taken its connection already")
    assert lines[1] == "['IPCPIPES_PARENT', 'IPCPIPES_STREAM']"


async def test_variables_without_the_handles_raise_no_parent() -> None:
    # A process in between has them in its environment, and does not pass the handles on.
    program = programs.plain_program(
        """
    program = "import trio, ipcpipes\\n" + sys.argv[1]
    sys.exit(subprocess.run([sys.executable, "-c", program], close_fds=True).returncode)
    """,
        """
async def main():
    # Something else has the number.
    import os
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    try:
        async with ipcpipes.parent_stream():
            print("a parent!")
    except ipcpipes.NoParent as error:
        print(error)
trio.run(main)
""",
    )
    lines: list[str] = []
    async with open_child(program, stdout=lines.append):
        pass
    assert len(lines) == 1
    assert lines[0].startswith("this process has not inherited the parent's stream: number ")


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"version":1}',
        '{"version":1,"handles":{},"framing":null,"group":null}',
        '{"version":1,"handles":{"stream":["3","duplex",""]},"framing":null,"group":null}',
        *(
            f'{{"version":1,"handles":{{"stream":[{number},{kind},""],"lifeline":["4","receive",""]'
            f'}},"framing":{framing},"group":{group}}}'
            for number, kind, framing, group in [
                ("null", '"duplex"', "null", "null"),
                ('"abc"', '"duplex"', "null", "null"),
                ('"-1"', '"duplex"', "null", "null"),
                (f'"{"9" * 5000}"', '"duplex"', "null", "null"),
                ('"3"', '"sideways"', "null", "null"),
                ('"3"', '"duplex"', "5", "null"),
                ('"3"', '"duplex"', '{"type":"Nope"}', "null"),
                ('"3"', '"duplex"', '{"type":"Lines","delimiter":5}', "null"),
                ('"3"', '"duplex"', "null", "{}"),
                ('"3"', '"duplex"', "null", '{"number":0,"endpoint":["x","y"]}'),
            ]
        ),
    ],
)
def test_foreign_variables_raise_no_parent(told: str) -> None:
    environment = {"IPCPIPES_PARENT": told}
    with pytest.raises(ipcpipes.NoParent, match="is not ipcpipes' own"):
        handover.take(environment, "stream")
    assert environment == {"IPCPIPES_PARENT": told}


def test_other_version_of_the_variables_is_an_error() -> None:
    with pytest.raises(ipcpipes.NoParent, match=r"another version .*\(2, here it is 1\)"):
        handover.take({"IPCPIPES_PARENT": '{"version":2}'}, "stream")


async def test_a_child_of_a_child(tmp_path: Path) -> None:
    program = programs.trio_program(
        """
    inner = [sys.executable, "-c", sys.argv[1]]
    async with ipcpipes.parent_stream() as outer, ipcpipes.open_child(inner) as child:
        async for data in outer:
            await child.stream.send_all(data)
            await outer.send_all(await child.stream.receive_some())
    """,
        programs.ECHO[2],
    )
    async with open_child(program) as child:
        await child.stream.send_all(b"hello")
        assert await receive_exactly(child.stream, 5) == b"hello"
    assert (child.status, child.reason) == (0, "exited")
