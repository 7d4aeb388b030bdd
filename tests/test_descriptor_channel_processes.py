"""Descriptors over channels between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from .conftest import open_descriptors
from .descriptor_channels import numbered_files, which
from .descriptors import close_all
from .processes import SECONDS
from .programs import blocking_program, trio_program


async def test_sender_killed_inside_a_message_leaves_nothing(short_tmp: Path) -> None:
    path = short_tmp / "s"
    program = blocking_program(
        """
        reading, writing = os.pipe()
        stream = blocking.connect(sys.argv[1])
        stream.send_descriptors(b"\\5\\0\\0\\0whole", [writing])
        stream.send_descriptors(b"\\5\\0\\0\\0par", [writing] * 3)
        stream.receive_some()
        """,
        str(path),
    )
    before = open_descriptors()
    async with await ipcpipes.listen_messages(path, max_descriptors=3) as listener:
        with subprocess.Popen(program) as process, trio.fail_after(SECONDS):
            async with await listener.accept() as channel:
                message, numbers = await channel.receive_descriptors()
                assert (message, len(numbers)) == (b"whole", 1)
                close_all(numbers)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_ends_inside_a_message, channel)
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    process.kill()
    assert open_descriptors() == before


async def _ends_inside_a_message(channel: Any) -> None:
    with pytest.raises(trio.BrokenResourceError, match="inside a message"):
        await channel.receive_descriptors()


_ECHO = {
    "trio": trio_program("""
        async with await ipcpipes.connect_messages(sys.argv[1], max_descriptors=5) as channel:
            while True:
                try:
                    message, numbers = await channel.receive_descriptors()
                except Exception:
                    break
                await channel.send_descriptors(message.upper(), numbers[::-1])
                for number in numbers:
                    os.close(number)
        """),
    "blocking": blocking_program("""
        with blocking.connect_messages(sys.argv[1], max_descriptors=5) as channel:
            while True:
                try:
                    message, numbers = channel.receive_descriptors()
                except Exception:
                    break
                channel.send_descriptors(message.upper(), numbers[::-1])
                for number in numbers:
                    os.close(number)
        """),
}


@pytest.mark.parametrize("driver", _ECHO)
async def test_descriptors_return_from_another_process(driver: str, short_tmp: Path) -> None:
    path = short_tmp / "s"
    async with await ipcpipes.listen_messages(path, max_descriptors=5) as listener:
        with subprocess.Popen([*_ECHO[driver], str(path)]) as process:
            async with await listener.accept() as channel:
                with numbered_files(5) as files, trio.fail_after(SECONDS):
                    for number in range(1, 6):
                        for size in (1, 100_000):
                            await channel.send_descriptors(b"a" * size, files[:number])
                            message, numbers = await channel.receive_descriptors()
                            assert message == b"A" * size
                            assert which(numbers) == list(range(number))[::-1]
            assert process.wait(SECONDS) == 0
