"""A framing of the user that raises while its channel is made: the connection is closed."""

from __future__ import annotations

import gc
import warnings
from typing import Any

import pytest

import ipcpipes
from ipcpipes import LengthPrefixed
from ipcpipes.testing import unique_endpoint

from . import drivers

both_drivers = pytest.mark.parametrize("doors", [ipcpipes, drivers], ids=["trio", "blocking"])


class Failing(LengthPrefixed):
    def splitter(self) -> Any:
        raise ArithmeticError("no splitter")


@both_drivers
async def test_a_connection_is_closed_if_its_framing_raises(doors: Any) -> None:
    async with await doors.listen(unique_endpoint()) as listener:
        with warnings.catch_warnings(record=True) as unclosed:
            warnings.simplefilter("always", ResourceWarning)
            with pytest.raises(ArithmeticError):
                await doors.connect_messages(listener.endpoint, framing=Failing())
            gc.collect()
    assert [str(one.message) for one in unclosed] == []


@both_drivers
async def test_an_accepted_connection_is_closed_if_its_framing_raises(doors: Any) -> None:
    async with await doors.listen_messages(unique_endpoint(), framing=Failing()) as listener:
        async with await doors.connect(listener.endpoint) as client:
            with pytest.raises(ArithmeticError):
                await listener.accept()
            assert await client.receive_some() == b""
