"""What a type checker says about streams of values under trio.

A comment ``# error`` marks each line that every checker has to refuse; they refuse no other line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ipcpipes import rpc

if TYPE_CHECKING:
    from typing_extensions import assert_type


@dataclass
class Sale:
    item: str
    price: float


class Shop(rpc.Interface, uuid="0f5a0c1e-9a53-4b9e-8a3c-5d8d0f0c7a15", version=(1, 0)):
    @rpc.operation
    async def record(self, sales: rpc.InStream[Sale], discount: float = 0) -> float: ...

    @rpc.operation
    async def prices(self, found: rpc.OutStream[float]) -> int: ...

    @rpc.operation
    def search(self, word: str) -> AsyncIterator[Sale]: ...


class Manager(Shop):
    async def record(self, sales: rpc.InStream[Sale], discount: float = 0) -> float:
        total = 0.0
        async for sale in sales:
            assert_type(sale, Sale)
            total += sale.price
        assert_type(await sales.receive_many(), list[Sale])
        channel: trio.abc.ReceiveChannel[Sale] = sales
        await channel.receive()
        return total

    async def prices(self, found: rpc.OutStream[float]) -> int:
        await found.send(3.5)
        await found.send_many([1, 2])
        await found.send("text")  # error
        channel: trio.abc.SendChannel[float] = found
        await channel.send(2)
        return 1

    async def search(self, word: str) -> AsyncIterator[Sale]:
        yield Sale(word, 1)
        yield word  # error


async def later() -> AsyncIterator[Sale]:
    yield Sale("pen", 1)


async def take(price: float) -> None:
    del price


async def call() -> None:
    async with rpc.connect(Shop, "shop") as shop:
        sales = [Sale("pen", 1)]
        assert_type(await shop.record(rpc.stream_from(sales)), float)
        await shop.record(rpc.stream_from(later()), discount=3)
        await shop.record(rpc.stream_from(["pen"]))  # error
        await shop.record(sales)  # error
        prices: list[float] = []
        texts: list[str] = []
        assert_type(await shop.prices(rpc.stream_into(prices)), int)
        await shop.prices(rpc.stream_into(prices.append))
        await shop.prices(rpc.stream_into(take))
        send, receive = trio.open_memory_channel[float](1)
        await shop.prices(rpc.stream_into(send))
        await receive.receive()
        await shop.prices(rpc.stream_into(texts))  # error
        async for sale in shop.search("pen"):
            assert_type(sale, Sale)
        shop.search(3)  # error


async def beyond_the_operations() -> None:
    async with rpc.connect(Shop, "shop") as shop:
        search = rpc.operation_of(shop.search)
        async with aclosing(search.with_options(timeout=3)("pen")) as found:
            assert_type(found, rpc.ResultIterator[Sale])
            assert_type(await found.__anext__(), Sale)
        search(3)  # error
        async with rpc.operation_of(shop.record).begin() as call:
            assert_type(call, rpc.CallHandle[float])
            await call.streams["sales"].send(Sale("pen", 1))


# A receiver of int is one of float; a sender of float is one of int.
def wider(given: rpc.InStream[int]) -> rpc.InStream[float]:
    return given


def wider_out(given: rpc.OutStream[int]) -> rpc.OutStream[float]:
    return given  # error


def narrower_out(given: rpc.OutStream[float]) -> rpc.OutStream[int]:
    return given
