"""A shop that programs in other languages call: ``python shop.py``; ``node client.mjs ADDRESS``.

It prints the address of its socket or pipe, and serves until it is interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import msgspec
import trio

import ipcpipes
from ipcpipes import rpc


class Sale(msgspec.Struct):
    item: str
    price: float


class NotSold(rpc.Fault):
    default_code = 404
    default_message = "the shop does not sell this"


class Shop(
    rpc.Interface,
    uuid="7d3c2b1a-5e4f-4c6d-8b9a-0f1e2d3c4b5a",
    version=(1, 0),
    raises=[NotSold],
):
    @rpc.operation
    async def price(self, item: str) -> float: ...

    @rpc.operation
    async def record(self, sales: rpc.InStream[Sale]) -> float: ...

    @rpc.operation
    def search(self, word: str) -> AsyncIterator[Sale]: ...


class ShopManager(Shop):
    def __init__(self) -> None:
        self.sales = [Sale("red pen", 2.0), Sale("paper", 5.5)]

    async def price(self, item: str) -> float:
        for sale in self.sales:
            if sale.item == item:
                return sale.price
        raise NotSold

    async def record(self, sales: rpc.InStream[Sale]) -> float:
        total = 0.0
        async for sale in sales:
            self.sales.append(sale)
            total += sale.price
        return total

    async def search(self, word: str) -> AsyncIterator[Sale]:
        for sale in self.sales:
            if word in sale.item:
                yield sale


async def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "node-shop"
    async with trio.open_nursery() as nursery:
        listener = await nursery.start(rpc.serve, ShopManager(), name)
        print(listener.address, flush=True)


if __name__ == "__main__":
    ipcpipes.run(main)
