"""Message channels: the contract, on every kind of channel."""

from __future__ import annotations

import pytest

from ipcpipes.testing import check_message_channel

from .channels import MAKERS, Maker


@pytest.mark.parametrize("maker", MAKERS)
async def test_channel_conformance(maker: Maker) -> None:
    await check_message_channel(maker)
