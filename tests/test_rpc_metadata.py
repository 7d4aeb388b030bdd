"""Metadata of calls and answers, over both drivers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
import trio

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc.wire.format import BindAck, Kind, decode, encode
from ipcpipes.testing import unique_endpoint

from .rpc_drivers import Driver
from .rpc_over_links import SECONDS, bad_stub_data, call_failed, invalid_handle
from .rpc_over_managers import Calls, drained, given_back

TOKEN = {"token": "s3cret", "attempt": 2}


async def seen(_: Any) -> Any:
    """What the manager sees, with the types of the values."""
    return {key: [type(one).__name__, one] for key, one in rpc.current_call().metadata.items()}


async def told(value: Any) -> Any:
    """Answers with this metadata."""
    if isinstance(value, dict):
        rpc.current_call().answer_metadata.update(value)
    return value


async def test_metadata_reaches_the_manager(driver: Driver) -> None:
    async with driver.calling(plain=seen, inline=lambda _: dict(current_metadata())) as acc:
        assert await acc.plain(None) == {}
        found = await acc.plain.with_options(metadata={"a": 1, "b": b"x", "c": True})(None)
        assert found == {"a": ["int", 1], "b": ["bytes", b"x"], "c": ["bool", True]}
        assert await acc.inline.with_options(metadata=TOKEN)(None) == TOKEN
        assert await acc.plain(None) == {}, "it belongs to one call"


def current_metadata() -> Any:
    return rpc.current_call().metadata


async def test_metadata_of_all_calls_of_a_client(driver: Driver) -> None:
    client = {"metadata": TOKEN}
    async with driver.calling(
        client=client, plain=seen, inline=lambda _: dict(current_metadata())
    ) as acc:
        assert await acc.inline(None) == TOKEN
        more = acc.inline.with_options(metadata={"attempt": 3, "x": 1})
        assert await more(None) == {"token": "s3cret", "attempt": 3, "x": 1}
        assert await more.with_options(timeout=60)(None) == {**TOKEN, "attempt": 3, "x": 1}
        assert await more.with_options(metadata=None)(None) == {}


async def test_metadata_of_calls_with_pipes(driver: Driver) -> None:
    async def into(numbers: Any) -> Any:
        total = sum(await drained(numbers))
        rpc.current_call().answer_metadata["total"] = total
        return current_metadata()["a"]

    async with driver.calling(into=into) as acc:
        operation = acc.into.with_options(metadata={"a": 7})
        assert await operation(numbers=[1, 2]) == 7
        async with operation.begin(numbers=[1, 2]) as call:
            assert await call.complete() == 7
            assert call.answer_metadata == {"total": 3}


async def test_metadata_of_a_maybe_call(driver: Driver) -> None:
    came: list[Any] = []

    async def tell(_: Any) -> None:
        came.append(dict(current_metadata()))
        rpc.current_call().answer_metadata["ignored"] = 1

    async with driver.calling(tell=tell, plain=given_back) as acc:
        await acc.tell.with_options(metadata={"a": 1})(None)
        assert await acc.plain(1) == 1
        while not came:
            await driver.settle()
    assert came == [{"a": 1}]


@pytest.mark.parametrize("name", ["plain", "inline"])
async def test_metadata_of_an_answer(driver: Driver, name: str) -> None:
    def inline(value: Any) -> Any:
        rpc.current_call().answer_metadata.update(value)
        return value

    async with driver.calling(plain=told, inline=inline) as acc:
        operation = getattr(acc, name)
        async with operation.begin({"a": 1, "b": b"x"}) as call:
            assert call.answer_metadata == {}
            assert await call.complete() == {"a": 1, "b": b"x"}
            assert call.answer_metadata == {"a": 1, "b": b"x"}
        assert call.answer_metadata == {"a": 1, "b": b"x"}, "also after the block"
        for _ in range(3):
            assert await operation({"a": 1}) == {"a": 1}, "a caller need not read it"
        async with operation.begin({}) as call:
            await call.complete()
            assert call.answer_metadata == {}


async def test_a_call_without_metadata_takes_few_steps(driver: Driver) -> None:
    async with driver.calling(plain=seen, into=drained) as acc:
        client = getattr(acc, "blocking", acc)
        assert client.plain._is_lean
        assert client.plain.with_options(timeout=3)._is_lean
        assert client.plain.with_options(metadata={})._is_lean
        assert not client.plain.with_options(metadata={"a": 1})._is_lean
        assert client.plain.with_options(metadata={"a": 1}).with_options(metadata=None)._is_lean
        assert not client.plain.with_options(notify=print)._is_lean
        assert not client.into._is_lean


async def test_a_handle_that_was_not_begun_has_no_metadata(driver: Driver) -> None:
    async with driver.calling(plain=told) as acc:
        assert acc.plain.begin({}).answer_metadata == {}


async def test_metadata_of_a_fault(driver: Driver) -> None:
    async def plain(_: Any) -> None:
        rpc.current_call().answer_metadata["retry-after"] = 2
        raise KeyError("no")

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(None) as call:
            with call_failed():
                await call.complete()
            assert call.answer_metadata == {"retry-after": 2}
        with call_failed():
            await acc.plain(None)


async def test_metadata_of_a_deferred_answer(driver: Driver) -> None:
    async def plain(_: Any) -> None:
        current = rpc.current_call()
        current.defer()
        metadata = current.answer_metadata
        metadata["a"] = 1
        current.answer_metadata["b"] = 2
        assert dict(metadata) == {"a": 1, "b": 2}
        current.complete("late")
        with invalid_handle():
            current.answer_metadata  # noqa: B018
        assert current.metadata == {"m": 1}

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.with_options(metadata={"m": 1}).begin(None) as call:
            assert await call.complete() == "late"
            assert call.answer_metadata == {"a": 1, "b": 2}


async def test_metadata_of_an_answer_that_cannot_be_sent(driver: Driver) -> None:
    async def plain(value: Any) -> Any:
        try:
            rpc.current_call().answer_metadata["a"] = value
        except (TypeError, ValueError) as error:
            return type(error).__name__
        return dict(rpc.current_call().answer_metadata)

    async with driver.calling(plain=plain) as acc:
        assert await acc.plain([1]) == "TypeError"
        assert await acc.plain("x" * 9000) == "ValueError"
        assert await acc.plain("x") == {"a": "x"}


async def test_metadata_that_cannot_be_sent(driver: Driver) -> None:
    async with driver.calling(plain=seen) as acc:
        with pytest.raises(ValueError, match="'A'"):
            acc.plain.with_options(metadata={"A": 1})
        with pytest.raises(TypeError, match="NoneType"):
            acc.plain.with_options(metadata={"a": None})
        with pytest.raises(TypeError, match="metadata is a mapping"):
            acc.plain.with_options(metadata=3)
        with pytest.raises(ValueError, match="8,192 are allowed"):
            acc.plain.with_options(metadata={"a": b"x" * 8192})
        assert await acc.plain(None) == {}


async def test_metadata_of_a_client_that_cannot_be_sent(driver: Driver) -> None:
    async with driver.serving(driver.manager()) as listener:
        with pytest.raises(ValueError, match="'A'"):
            async with driver.connect(Calls, listener.endpoint, metadata={"A": 1}):
                pass


async def test_metadata_does_not_change_afterwards(driver: Driver) -> None:
    given = {"a": 1}
    async with driver.calling(plain=seen) as acc:
        operation = acc.plain.with_options(metadata=given)
        given["a"] = 2
        assert await operation(None) == {"a": ["int", 1]}


async def test_a_manager_cannot_change_what_came(driver: Driver) -> None:
    async def plain(_: Any) -> None:
        current_metadata()["a"] = 2

    async with driver.calling(plain=plain) as acc:
        with pytest.raises(rpc.Fault, match="mappingproxy"):
            await acc.plain.with_options(metadata={"a": 1})(None)


async def test_many_calls_with_and_without_metadata(driver: Driver) -> None:
    async def plain(value: Any) -> Any:
        if value % 3 == 0:
            rpc.current_call().answer_metadata["n"] = value
        return [value, dict(current_metadata())]

    async with driver.calling(plain=plain) as acc:
        for number in range(60):
            metadata = {"n": number} if number % 2 else None
            found = await acc.plain.with_options(metadata=metadata)(number)
            assert found == [number, metadata or {}]


async def test_invalid_metadata_is_a_fault_of_its_call(driver: Driver) -> None:
    async with driver.raw_calling() as (raw, _):
        await raw.bind(metadata=8192)
        await raw.send(Kind.METADATA, 1, body=b"\x90")
        await raw.request(1, "plain", 1)
        fault = await raw.receive()
        assert (fault.kind, fault.call) == (Kind.FAULT, 1)
        assert b"the metadata of call 1 is not valid" in bytes(fault.body)
        for call in (2, 3):
            await raw.request(call, "plain", 2)
            assert (await raw.receive()).kind is Kind.RESPONSE


async def test_a_client_that_knows_no_metadata_gets_none(driver: Driver) -> None:
    async with driver.raw_calling(plain=told) as (raw, _):
        answer = await raw.bind()
        assert b"metadata" not in bytes(answer.body)
        await raw.request(1, "plain", {"a": 1})
        assert (await raw.receive()).kind is Kind.RESPONSE


async def test_invalid_metadata_of_an_answer_ends_a_waiting_call(driver: Driver) -> None:
    async def answer_wrongly(listener: Any) -> None:
        operations = [(name, "") for name in Calls._rpc_definition.operations]
        offer = BindAck(1, (1, 2), 2**20, 2**20, 5, operations, 8192)
        async with await listener.accept() as stream:
            channel = ipcpipes.MessageChannel(stream)
            await channel.receive()
            await channel.send(encode(Kind.BIND_ACK, 0, msgspec.msgpack.encode(offer)))
            with suppress(trio.EndOfChannel):
                while True:  # no answer ever comes
                    request = decode(await channel.receive())
                    if request.kind is Kind.REQUEST:
                        await channel.send(encode(Kind.METADATA, request.call, b"\x90"))

    with trio.fail_after(SECONDS):
        async with await ipcpipes.listen(unique_endpoint()) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_wrongly, listener)
                async with driver.connect(Calls, listener.endpoint) as acc:
                    with bad_stub_data():
                        await acc.plain(1)
                    with bad_stub_data():
                        await acc.plain.with_options(metadata={"a": 1})(1)
                    async with acc.plain.begin(1) as call:
                        with bad_stub_data():
                            await call.complete()
                nursery.cancel_scope.cancel()
