"""Message channels: the contract, on every kind of channel."""

from __future__ import annotations

from typing import Any

import pytest

from ipcpipes.testing import check_message_channel

from .channels import MAKERS, Maker


@pytest.mark.parametrize("maker", MAKERS)
async def test_channel_conformance(maker: Maker) -> None:
    await check_message_channel(maker)


@pytest.mark.parametrize("value", ["text", {"a": 1}, 5, None])
@pytest.mark.parametrize("maker", MAKERS)
async def test_a_message_that_is_not_bytes_is_refused(maker: Maker, value: Any) -> None:
    ours, theirs = await maker()
    words = rf"^a message is bytes, not {type(value).__name__}; encode it$"
    async with ours, theirs:
        with pytest.raises(TypeError, match=words):
            await ours.send(value)
        with pytest.raises(TypeError, match=words):
            await ours.send_many([b"good", value])
        await ours.send(b"after it")
        assert await theirs.receive() == b"after it"
