"""How a connection begins: which clients are served, and which are refused, with what error."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc.wire.format import Kind
from ipcpipes.testing import memory_stream_pair

from .rpc_drivers import Driver
from .rpc_over_links import SECONDS, failing, serving
from .rpc_over_managers import Calls, Other, OtherManager, given_back

unknown_interface = partial(failing, rpc.UnknownInterface, 1717, 0x1C010003)


def version_of(major: int, minor: int) -> type[rpc.Interface]:
    """The interface ``Other`` in another version."""

    class Another(
        rpc.Interface, uuid="9c5d54a5-6c5c-4a6d-8d9c-f52cb5dd7104", version=(major, minor)
    ):
        @rpc.operation
        async def whoami(self) -> str:
            raise NotImplementedError

        @rpc.operation
        async def newer(self) -> str:
            raise NotImplementedError

    return Another


class OtherInThreads(Other):
    def whoami(self) -> str:  # type: ignore[override]
        return "the other one"


def _other(driver: Driver) -> Other:
    return OtherInThreads() if driver.serves_in_threads else OtherManager()


async def test_an_interface_that_is_not_served_is_refused(driver: Driver) -> None:
    async with driver.serving(_other(driver)) as listener:
        for _ in range(2):
            with unknown_interface() as caught:
                async with driver.connect(Calls, listener.endpoint):
                    raise AssertionError("it is served")
            assert "does not serve the interface Calls" in caught.value.message
        async with driver.connect(Other, listener.endpoint) as other:
            assert await other.whoami() == "the other one"


@pytest.mark.parametrize("version", [(3, 0), (3, 1), (3, 2), (3, 65_535)])
async def test_a_client_of_another_minor_version_is_served(
    driver: Driver, version: tuple[int, int]
) -> None:
    async with driver.serving(_other(driver)) as listener:
        async with driver.connect(version_of(*version), listener.endpoint) as other:
            assert await other.whoami() == "the other one"
            with failing(rpc.ProcnumOutOfRange, 1745, 0x1C010002) as caught:
                await other.newer()
            assert "has no newer" in caught.value.message


@pytest.mark.parametrize("version", [(2, 1), (4, 0), (4, 1)])
async def test_a_client_of_another_major_version_is_refused(
    driver: Driver, version: tuple[int, int]
) -> None:
    async with driver.serving(_other(driver)) as listener:
        with unknown_interface() as caught:
            async with driver.connect(version_of(*version), listener.endpoint):
                raise AssertionError("it is served")
        assert f"{version[0]}.{version[1]}" in caught.value.message
        assert "Other 3.1" in caught.value.message


async def test_an_operation_with_other_pipes_at_the_server_fails(driver: Driver) -> None:
    class Changed(rpc.Interface, uuid="0d3c2f0e-6b0f-4f0c-8b39-3c2f5d3f7a01", version=(1, 0)):
        @rpc.operation
        async def plain(self, value: Any) -> Any: ...
        @rpc.operation
        async def into(self, numbers: rpc.InPipe[rpc.int64]) -> Any: ...

    async with driver.serving(driver.manager(plain=given_back)) as listener:
        async with driver.connect(Changed, listener.endpoint) as changed:
            with failing(rpc.WrongPipeVersion, 1832):
                await changed.into(numbers=[1])
            assert await changed.plain(1) == 1


async def test_several_managers_share_an_endpoint(driver: Driver) -> None:
    async with driver.serving(_other(driver), driver.manager(plain=given_back)) as listener:
        async with (
            driver.connect(Calls, listener.endpoint) as acc,
            driver.connect(Other, listener.endpoint) as other,
        ):
            assert await acc.plain(1) == 1
            assert await other.whoami() == "the other one"


async def test_serve_refuses_wrong_managers_and_limits(endpoint: ipcpipes.Endpoint) -> None:
    for managers, words in [
        ([], "no manager"),
        ([OtherManager(), OtherManager()], "have the same uuid"),
        ([object()], "implements no interface"),
        (object(), "implements no interface"),
        ([Other], "implements no interface"),
    ]:
        with pytest.raises(TypeError, match=words):
            await rpc.serve(managers, endpoint)  # type: ignore[arg-type]
    limits: Any
    for limits in ({"max_frame": 65_535}, {"credit": 131_071}, {"max_calls": 0}):
        with pytest.raises(ValueError, match="must be"):
            await rpc.serve(OtherManager(), endpoint, **limits)
        left, right = memory_stream_pair()
        with pytest.raises(ValueError, match="must be"):
            await rpc.serve_connection(OtherManager(), left, **limits)
        await left.aclose()
        await right.aclose()


@pytest.mark.parametrize("keep_alive", [0, -1, float("nan"), "1"])
async def test_keep_alive_refuses_what_is_not_a_time(
    endpoint: ipcpipes.Endpoint, keep_alive: Any
) -> None:
    with trio.fail_after(SECONDS), pytest.raises((ValueError, TypeError)):
        await rpc.serve(OtherManager(), endpoint, keep_alive=keep_alive)
    async with serving(OtherManager()) as listener:
        with pytest.raises((ValueError, TypeError)):
            async with rpc.connect(Other, listener.endpoint, keep_alive=keep_alive):
                raise AssertionError("it is connected")


@pytest.mark.parametrize("interface", [int, object(), rpc.Interface])
async def test_connect_refuses_what_is_not_an_interface(driver: Driver, interface: Any) -> None:
    async with driver.serving(_other(driver)) as listener:
        with pytest.raises(TypeError, match="no interface"):
            async with driver.connect(interface, listener.endpoint):
                raise AssertionError


async def test_serve_connection_refuses_what_is_not_a_transport() -> None:
    for transport in (None, "a name", trio.open_memory_channel[bytes](1)[0]):
        with pytest.raises(TypeError, match="a stream or a message channel"):
            await rpc.serve_connection(OtherManager(), transport)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": 2},
        {"protocol": 0},
        {"credit": 0},
        {"credit": -1},
        {"max_frame": 1},
        {"uuid": "no uuid"},
        {"version": (65_536, 0)},
        {"version": (-1, -1)},
    ],
    ids=str,
)
async def test_a_refused_bind_gets_an_answer(driver: Driver, change: dict[str, Any]) -> None:
    async with driver.raw_calling() as (raw, _):
        answer = await raw.bind(**change)
        assert answer.kind is Kind.BIND_NAK
        await raw.at_end()
