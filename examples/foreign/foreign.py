"""Talks to programs in other languages: a shell script, and a C program.

    python foreign.py

Each finds the numbers of its descriptors in its environment or in its arguments. (Not for Windows,
where the numbers are those of handles.)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import trio

import ipcpipes

HERE = Path(__file__).parent

Command = list[str] | Callable[[Mapping[str, str]], list[str]]


async def capitals_by_script(command: Command, text: bytes) -> bytes:
    """Uses two pipes, one for each direction, which a shell can open as files."""
    async with ipcpipes.open_child(
        command, pipes={"lines": "send", "capitals": "receive"}
    ) as child:
        async with child.pipes["lines"] as lines:
            await lines.send_all(text)
        # The pipe is closed now, so the script ends, and then its output ends.
        return b"".join([data async for data in child.pipes["capitals"]])


async def capitals_by_c(command: Command, text: bytes) -> bytes:
    """Uses one socket for both directions."""
    async with ipcpipes.open_child(command) as child:
        await child.stream.send_all(text)
        answer = b""
        while len(answer) < len(text):
            answer += await child.stream.receive_some()
        return answer


def compiled(folder: str) -> str | None:
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = str(Path(folder, "upper"))
    subprocess.run([compiler, "-O", "-o", program, str(HERE / "upper.c")], check=True)
    return program


async def main(program: str | None) -> None:
    script = str(HERE / "upper.sh")
    print(await capitals_by_script(["sh", script], b"script, environment\n"))
    print(
        await capitals_by_script(
            lambda number: ["sh", script, number["lines"], number["capitals"]],
            b"script, arguments\n",
        )
    )
    if program is None:
        print("no C compiler here")
        return
    print(await capitals_by_c([program], b"C, environment\n"))
    print(await capitals_by_c(lambda number: [program, number["stream"]], b"C, argument\n"))


if __name__ == "__main__":
    if sys.platform == "win32":
        sys.exit("the shell script and the C program are for POSIX systems")
    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, compiled(folder))
