"""If the standard streams are closed, ipcpipes does not use their descriptor numbers (POSIX)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .conftest import WINDOWS

if WINDOWS:
    pytest.skip("Windows has handles", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING

from ipcpipes._os.posix import standard_numbers as posix_standard

from .forking import in_forked_child

BEGINNING = """
import os, resource, socket, subprocess, sys, trio
import ipcpipes
from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

# A copy of stderr for the results, because the standard streams are closed.
found = os.dup(2)
for number in range(3):
    os.close(number)

def lowest():
    return [number for number in range(3) if os.path.exists(f"/proc/self/fd/{number}")]

def tell(text):
    os.write(found, text.encode())

def check(where):
    if lowest():
        tell(f"{where}: {[(n, os.readlink(f'/proc/self/fd/{n}')) for n in lowest()]}\\n")

"""
# Each program opens some objects; check() reports descriptors with the numbers 0 to 2.
OPENING = {
    "blocking streams": """
with blocking.listen(unique_endpoint(), max_instances=1) as listener:
    check("listen")
    with blocking.connect(listener.endpoint) as client:
        check("connect")
        with listener.accept() as server:
            check("accept")
            server.peer, client.peer
            check("peer")
    """,
    "native channels": """
with blocking.listen_messages(unique_endpoint(), framing=ipcpipes.NATIVE) as listener:
    with blocking.connect_messages(listener.endpoint, framing=ipcpipes.NATIVE) as client:
        with listener.accept() as server:
            check("native")
    """,
    "received descriptors": """
with blocking.listen(unique_endpoint()) as listener:
    with blocking.connect(listener.endpoint) as client, listener.accept() as server:
        client.send_descriptors(b"x", [found, found, found, found])
        _, numbers = server.receive_descriptors()
        check("received")
        tell("" if len(numbers) == 4 else "too few arrived")
        [os.close(number) for number in numbers]
    """,
    "an anonymous pipe": """
receiving, sending = blocking.open_anonymous_pipe()
check("pipe")
with receiving, sending:
    try:
        receiving.receive_some(timeout=0.01)
    except TimeoutError:
        check("waker")
    """,
    "a child": """
command = [sys.executable, "-c", '''
from ipcpipes import blocking
with blocking.parent_channel() as channel:
    try:
        print("this is not a message", flush=True)
    except Exception:
        pass
    channel.send(channel.receive())
''']
with blocking.open_child(command, framing=ipcpipes.LengthPrefixed()) as child:
    check("child")
    child.channel.send(b"ping")
    answer = child.channel.receive()
    tell("" if answer == b"ping" else f"{answer!r} came")
    """,
    "a child with pipes": """
command = [sys.executable, "-c", '''
from ipcpipes import blocking
with blocking.parent_pipes() as pipes:
    for data in pipes["to"]:
        pipes["back"].send_all(data)
''']
with blocking.open_child(command, pipes={"to": "send", "back": "receive"}) as child:
    check("pipes")
    child.pipes["to"].send_all(b"ping")
    answer = child.pipes["back"].receive_some()
    tell("" if answer == b"ping" else f"{answer!r} came")
    """,
    "lines of a child": """
async def main():
    lines = []
    command = [sys.executable, "-c", "print('one'); print('two')"]
    async with ipcpipes.open_child(command, stdout=lines.append) as child:
        await child.wait()
    tell("" if lines == ["one", "two"] else f"{lines} came")

# Descriptors that trio itself opens do not count, so the numbers are free only inside its loop.
loop = [os.open("/dev/null", os.O_RDWR) for _ in range(3)]
async def outer():
    [os.close(number) for number in loop]
    await main()
    check("lines")
trio.run(outer)
    """,
    "trio streams": """
loop = [os.open("/dev/null", os.O_RDWR) for _ in range(3)]
async def main():
    [os.close(number) for number in loop]
    async with await ipcpipes.listen(unique_endpoint(), max_instances=1) as listener:
        async with await ipcpipes.connect(listener.endpoint) as client:
            async with await listener.accept() as server:
                check("trio")
trio.run(main)
    """,
    "a group": """
loop = [os.open("/dev/null", os.O_RDWR) for _ in range(3)]
command = [sys.executable, "-c", '''
import ipcpipes, trio
async def main():
    async with ipcpipes.group_worker() as worker:
        await worker.serve(lambda stream: stream.send_all(b"x"))
trio.run(main)
''']
async def main():
    [os.close(number) for number in loop]
    endpoint = unique_endpoint()
    group = ipcpipes.WorkerGroup(command, 1, endpoint=endpoint)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        check("group")
        async with await ipcpipes.connect(endpoint) as stream:
            answer = await stream.receive_some()
            tell("" if answer == b"x" else f"{answer!r} came")
        group.stop()
trio.run(main)
    """,
}


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc/self/fd")
@pytest.mark.parametrize("what", OPENING)
def test_standard_numbers_are_not_used(what: str) -> None:
    program = BEGINNING + OPENING[what]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert done.stderr.decode() == ""
    assert done.returncode == 0


def test_descriptor_with_another_number_is_unchanged() -> None:
    receiving, sending = os.pipe()
    assert posix_standard.lifted(receiving) == receiving
    os.close(receiving)
    os.close(sending)


def test_descriptor_that_cannot_be_moved_is_closed() -> None:
    def lift() -> list[str]:
        import resource

        os.close(0)
        fd = os.open("/dev/null", os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        try:
            posix_standard.lifted(fd)
        except OSError as error:
            return [str(fd), type(error).__name__, str(posix_standard._is_closed(fd))]
        return []

    assert in_forked_child(lift) == "['0', 'OSError', 'True']"


CHILD_WITHOUT = """
command = [sys.executable, "-c", '''
import os
def is_open(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False
# Before the import: the libffi of some systems opens itself, and takes the lowest number.
before = [is_open(number) for number in range(3)]
from ipcpipes import blocking
with blocking.parent_stream() as stream:
    stream.send_all(repr(before).encode())
''']
with blocking.open_child(command) as child:
    tell(b"".join(child.stream).decode())
"""


def test_child_inherits_closed_standard_streams() -> None:
    """The placeholders that occupy the numbers during the start are not inherited."""
    program = BEGINNING + CHILD_WITHOUT
    done = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, timeout=60, check=True
    )
    assert done.stderr.decode() == "[False, False, False]"
