"""Descriptors over streams: they arrive with their bytes, and nothing else stays open."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes.abc import MOST_DESCRIPTORS
from ipcpipes.testing import memory_stream_pair, unique_endpoint

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from .conftest import open_descriptors
from .descriptors import PAIRS, at_most_open, close_all, connected, watched
from .pairs import receive_exactly, stream_pair
from .processes import SECONDS
from .programs import blocking_program


@pytest.fixture(params=PAIRS)
async def pair(request: pytest.FixtureRequest) -> Any:
    left, right = await connected(request.param)
    async with left, right:
        yield left, right


async def test_descriptors_arrive_in_order_with_their_bytes(pair: Any) -> None:
    left, right = pair
    with watched() as one, watched() as two, tempfile.TemporaryFile() as file:
        await left.send_descriptors(b"three", [one.end, two, file])
        data, numbers = await right.receive_descriptors()
        assert data == b"three"
        assert len(numbers) == 3
        assert one.comes_through(numbers[0])
        assert two.comes_through(numbers[1])
        assert os.path.sameopenfile(numbers[2], file.fileno())
        for number in numbers:
            assert not os.get_inheritable(number), "they are close-on-exec"
        close_all(numbers)
        assert one.comes_through(one.end), "the sender's own stay open"
    await right.send_all(b"as ever")
    assert await receive_exactly(left, 7) == b"as ever"


async def test_bytes_without_descriptors_give_an_empty_list(pair: Any) -> None:
    left, right = pair
    await left.send_all(b"abcdef")
    assert await right.receive_descriptors(4) == (b"abcd", [])
    assert await right.receive_descriptors(None, 1) == (b"ef", [])
    await left.aclose()
    for _ in range(2):
        assert await right.receive_descriptors() == (b"", [])


async def test_one_receive_returns_the_descriptors_of_one_send(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await left.send_all(b"before")
        await left.send_descriptors(b"a", [pipe])
        await left.send_all(b"between")
        await left.send_descriptors(bytearray(b"b"), [pipe, pipe])
        await left.send_descriptors(memoryview(b"c"), [pipe])
        await left.send_all(b"after")
        await left.aclose()
        received, batches = b"", []
        while True:
            data, numbers = await right.receive_descriptors()
            if not data:
                break
            received += data
            if numbers:
                batches.append(len(numbers))
            close_all(numbers)
        assert received == b"beforeabetweenbcafter"
        assert batches == [1, 2, 1]


async def test_up_to_253_descriptors_can_be_sent_at_once(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await left.send_descriptors(b"x", [pipe] * MOST_DESCRIPTORS)
        data, numbers = await right.receive_descriptors()
        close_all(numbers)
        assert (data, len(numbers), len(set(numbers))) == (b"x", 253, 253)
        with pytest.raises(ValueError, match="1 to 253 descriptors can be sent at once, not 254"):
            await left.send_descriptors(b"x", [pipe] * (MOST_DESCRIPTORS + 1))
        await left.send_all(b"y")
        assert await right.receive_descriptors() == (b"y", [])


async def test_only_the_first_byte_of_a_large_send_carries_descriptors(pair: Any) -> None:
    left, right = pair
    data = bytes(range(256)) * 8192
    got, numbers = bytearray(), []
    with watched() as pipe:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send_descriptors, memoryview(data), [pipe])
            while len(got) < len(data):
                part, some = await right.receive_descriptors()
                got += part
                numbers += some
        assert got == data
        (number,) = numbers
        assert pipe.comes_through(number)
        os.close(number)


@pytest.mark.parametrize("way", ["some", "into"])
async def test_receive_some_and_receive_into_take_no_descriptors(pair: Any, way: str) -> None:
    left, right = pair
    before = open_descriptors()
    with watched() as pipe:
        await left.send_descriptors(b"a gift", [pipe] * 100)
        pipe.close_here()
        assert pipe.is_open_anywhere, "it is on its way"
        if way == "some":
            assert await right.receive_some() == b"a gift"
        else:
            memory = bytearray(10)
            assert await right.receive_into(memory) == 6
        assert not pipe.is_open_anywhere
    assert open_descriptors() == before


async def test_descriptors_in_flight_are_closed_with_the_stream(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await left.send_descriptors(b"x", [pipe])
        pipe.close_here()
        await right.aclose()
        assert not pipe.is_open_anywhere


@pytest.mark.parametrize(("sent", "most"), [(2, 1), (253, 1), (254 - 1, 252), (9, 8), (4, 3)])
async def test_more_descriptors_than_allowed_break_the_stream(
    pair: Any, sent: int, most: int
) -> None:
    left, right = pair
    before = open_descriptors()
    with watched() as pipe:
        await left.send_descriptors(b"too many", [pipe] * sent)
        pipe.close_here()
        with pytest.raises(
            ipcpipes.DescriptorsLost, match=f"max_descriptors allows, {most}$"
        ) as caught:
            await right.receive_descriptors(None, most)
        assert isinstance(caught.value, trio.BrokenResourceError)
        assert isinstance(caught.value, OSError)
        assert (caught.value.data, caught.value.errno) == (b"too many", errno.EMSGSIZE)
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (str(copy), copy.data, copy.errno) == (
            str(caught.value),
            b"too many",
            errno.EMSGSIZE,
        )
        assert not pipe.is_open_anywhere, "none is kept"
    assert open_descriptors() == before
    await left.send_all(b"more")
    for receive in (right.receive_some, right.receive_descriptors):
        with pytest.raises(trio.BrokenResourceError, match="max_descriptors"):
            await receive()
    with pytest.raises(trio.BrokenResourceError, match="max_descriptors"):
        await right.receive_into(bytearray(10))
    await right.send_all(b"the other way is whole")
    assert await receive_exactly(left, 22) == b"the other way is whole"
    await right.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await right.receive_descriptors()


async def test_receiving_at_the_descriptor_limit_raises_emfile() -> None:
    # Without threads, which need descriptors of their own when they start.
    for free in (0, 1, 2):
        left, right = await stream_pair()
        async with left, right:
            with watched() as pipe:
                await left.send_descriptors(b"x", [pipe] * 3)
                pipe.close_here()
                with at_most_open(free):
                    with pytest.raises(ipcpipes.DescriptorsLost, match="NOFILE") as caught:
                        await right.receive_descriptors()
                assert (caught.value.data, caught.value.errno) == (b"x", errno.EMFILE)
                assert not pipe.is_open_anywhere
            with pytest.raises(trio.BrokenResourceError, match="NOFILE"):
                await right.receive_some()


async def test_receiving_just_below_the_descriptor_limit_works() -> None:
    left, right = await stream_pair()
    async with left, right:
        with watched() as pipe:
            await left.send_descriptors(b"x", [pipe] * 3)
            with at_most_open(3):
                data, numbers = await right.receive_descriptors(None, 3)
            close_all(numbers)
            assert (data, len(numbers)) == (b"x", 3)


async def test_sending_a_closed_descriptor_raises_and_sends_nothing(pair: Any) -> None:
    left, right = pair
    before = open_descriptors()
    with watched() as pipe:
        pipe.close_here()
        for wrong in ([10**6], [0, 10**6], [2**31 - 1]):
            with pytest.raises(OSError, match="one of these descriptors is not open") as caught:
                await left.send_descriptors(b"nothing goes out", wrong)
            assert caught.value.errno == errno.EBADF
    nothing: Any
    for nothing, kind in (
        ([], ValueError),
        ([-1], ValueError),
        ([2**31], ValueError),
        (b"\1\2", TypeError),
        ("12", TypeError),
        ([True], TypeError),
        ([1.0], TypeError),
        ([None], TypeError),
        (7, TypeError),
    ):
        with pytest.raises(kind):
            await left.send_descriptors(b"nothing goes out", nothing)
    with pytest.raises(ValueError, match="1 byte or more"):
        await left.send_descriptors(b"", [0])
    for size, most in ((0, 1), (1, 0), (1, 254), (1, -1)):
        with pytest.raises(ValueError, match="max_"):
            await right.receive_descriptors(size, most)
    for what in (True, 1.0, None, "1"):
        with pytest.raises(TypeError):
            await right.receive_descriptors(1, what)
    await left.send_all(b"as it was")
    assert await right.receive_descriptors() == (b"as it was", [])
    assert open_descriptors() == before


@pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0,
    reason="Linux limits every user except root, and only root can change the user",
)
def test_too_many_descriptors_in_flight_raise_etoomanyrefs() -> None:
    program = blocking_program(
        """
        import errno, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
        os.setgid(65534)
        os.setuid(65534)
        where = ipcpipes.Endpoint.abstract(sys.argv[1])
        with blocking.listen(where) as listener:
            client, server = blocking.connect(where), listener.accept()
        with client, server:
            sent = 0
            try:
                while sent < 1000:
                    client.send_descriptors(b"x", [0] * 20)
                    sent += 1
            except OSError as error:
                assert error.errno == errno.ETOOMANYREFS, error
                assert "on their way already" in str(error)
            client.send_all(b"as it was")
            for _ in range(sent):
                data, numbers = server.receive_descriptors()
                assert (data, len(numbers)) == (b"x", 20)
                for number in numbers:
                    os.close(number)
            assert server.receive_some() == b"as it was"
        say(0 < sent < 10)
        """,
        str(unique_endpoint().name),
    )
    result = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (result.stdout, result.stderr) == ("True\n", "")


async def test_a_closed_stream_raises(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await right.aclose()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="closed or died"):
                await left.send_descriptors(b"x", [pipe])
        await left.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await left.send_descriptors(b"x", [pipe])
        with pytest.raises(trio.ClosedResourceError):
            await left.receive_descriptors()


async def test_send_descriptors_after_send_eof_raises(pair: Any) -> None:
    left, right = pair
    with watched() as pipe:
        await left.send_eof()
        with pytest.raises(trio.ClosedResourceError, match="send_eof"):
            await left.send_descriptors(b"x", [pipe])
        assert await right.receive_descriptors() == (b"", [])


async def test_a_peer_that_closes_without_reading_is_at_its_end(pair: Any) -> None:
    left, right = pair
    await left.send_all(b"not read")
    await right.aclose()
    assert await left.receive_descriptors() == (b"", [])


async def test_a_thousand_rounds_leave_no_descriptor_open(pair: Any) -> None:
    left, right = pair
    before = open_descriptors()
    with watched() as pipe:
        for number in range(1000):
            await left.send_descriptors(b"x", [pipe] * (1 + number % 5))
            if number % 2:
                assert await right.receive_some() == b"x"
            else:
                _, numbers = await right.receive_descriptors()
                close_all(numbers)
    assert open_descriptors() == before


async def test_memory_streams_carry_no_descriptors() -> None:
    left, right = memory_stream_pair()
    with pytest.raises(ipcpipes.NotSupported, match="memory"):
        await left.send_descriptors(b"x", [0])
    with pytest.raises(ipcpipes.NotSupported, match="memory"):
        await right.receive_descriptors()
