"""What a type checker says about streams of values without an event loop.

A comment ``# error`` marks each line that every checker has to refuse; they refuse no other line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipcpipes import rpc
from ipcpipes.rpc import blocking

if TYPE_CHECKING:
    from typing_extensions import assert_type


@dataclass
class Sale:
    item: str
    price: float


class Shop(rpc.Interface, uuid="0f5a0c1e-9a53-4b9e-8a3c-5d8d0f0c7a16", version=(1, 0)):
    @rpc.operation
    def record(self, sales: blocking.InStream[Sale], discount: float = 0) -> float: ...

    @rpc.operation
    def prices(self, found: blocking.OutStream[float]) -> int: ...

    @rpc.operation
    def search(self, word: str) -> Iterator[Sale]: ...


class Manager(Shop):
    def record(self, sales: blocking.InStream[Sale], discount: float = 0) -> float:
        assert_type(sales.receive(timeout=3), Sale)
        assert_type(sales.receive_many(), list[Sale])
        return sum(sale.price for sale in sales)

    def prices(self, found: blocking.OutStream[float]) -> int:
        found.send(3.5)
        found.send_many([1, 2])
        found.send("text")  # error
        found.close()
        return 1

    def search(self, word: str) -> Iterator[Sale]:
        yield Sale(word, 1)
        yield word  # error


def call() -> None:
    with blocking.connect(Shop, "shop") as shop:
        sales = [Sale("pen", 1)]
        assert_type(shop.record(blocking.stream_from(sales)), float)
        shop.record(blocking.stream_from(iter(sales)), discount=3)
        shop.record(blocking.stream_from(["pen"]))  # error
        shop.record(sales)  # error
        prices: list[float] = []
        texts: list[str] = []
        assert_type(shop.prices(blocking.stream_into(prices)), int)
        shop.prices(blocking.stream_into(prices.append))
        shop.prices(blocking.stream_into(texts))  # error
        for sale in shop.search("pen"):
            assert_type(sale, Sale)
        shop.search(3)  # error


def beyond_the_operations() -> None:
    with blocking.connect(Shop, "shop") as shop:
        search = blocking.operation_of(shop.search)
        with closing(search.with_options(timeout=3)("pen")) as found:
            assert_type(found, blocking.ResultIterator[Sale])
            assert_type(next(found), Sale)
        search(3)  # error
        with blocking.operation_of(shop.record).begin() as call:
            assert_type(call, blocking.CallHandle[float])
            call.streams["sales"].send(Sale("pen", 1))
