"""A call of each kind, for tests of transports."""

from __future__ import annotations

import os
from typing import Any

from ipcpipes import rpc

from .rpc_over_links import call_failed
from .rpc_over_managers import Calls, Scripted, drained, echoed, given_back, pushed


async def all_kinds(acc: rpc.Client[Calls]) -> None:
    assert await acc.plain({"a": [1, None]}) == {"a": [1, None]}
    data = os.urandom(700_000)
    got = bytearray()
    assert await acc.octets_both(data=(data, got)) == len(data)
    assert got == data
    with call_failed():
        await acc.into(numbers=range(100_000))
    async with acc.both.begin() as call:
        await pushed(call.pipes["numbers"], [1], [2])
        assert await drained(call.pipes["numbers"]) == [1, 2]
        assert await call.complete() == 2


async def _fails(numbers: Any) -> None:
    await numbers.pull()
    raise LookupError


ALL_KINDS = Scripted(plain=given_back, octets_both=echoed, both=echoed, into=_fails)
