"""Streams in memory, and names for endpoints."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence

import trio
import trio.testing

from .._os.common.receive_size import writable_bytes
from ..abc import MOST_DESCRIPTORS, ByteStream, HasFileno, PeerIdentity
from ..endpoint import Endpoint
from ..errors import NotSupported

_NO_DESCRIPTORS = "a stream in memory cannot carry descriptors; connect to a listener for that"


def unique_endpoint() -> Endpoint:
    """Returns a plain name that is not in use: ``Endpoint.named("test-…")`` with 64 random bits."""
    return Endpoint.named(f"test-{secrets.token_hex(8)}")


class MemoryStream(ByteStream):
    """One end of :func:`memory_stream_pair`."""

    def __init__(
        self,
        stream: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream],
        endpoint: Endpoint,
        peer: PeerIdentity,
    ) -> None:
        self._stream = stream
        self._endpoint = endpoint
        self._peer = peer
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return f"memory:{self._endpoint.name}"

    @property
    def peer(self) -> PeerIdentity:
        return self._peer

    @property
    def send_buffer_size(self) -> int:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed here")
        return sys.maxsize

    @property
    def receive_buffer_size(self) -> int:
        return self.send_buffer_size

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        with writable_bytes(buffer) as view:
            data = await self._stream.receive_some(len(view))
            view[: len(data)] = data
            return len(data)

    async def send_descriptors(
        self, data: bytes | bytearray | memoryview, descriptors: Sequence[int | HasFileno]
    ) -> None:
        raise NotSupported(_NO_DESCRIPTORS)

    async def receive_descriptors(
        self, max_bytes: int | None = None, max_descriptors: int = MOST_DESCRIPTORS
    ) -> tuple[bytes, list[int]]:
        raise NotSupported(_NO_DESCRIPTORS)

    async def aclose(self) -> None:
        self._closed = True
        await self._stream.aclose()


def memory_stream_pair(
    endpoint: Endpoint | None = None, *, peer: PeerIdentity | None = None
) -> tuple[MemoryStream, MemoryStream]:
    """Returns two connected streams that live in memory and make no system calls.

    They keep the contract of :class:`ipcpipes.abc.ByteStream`, with a buffer that is never full.
    Use them to test code that takes such a stream.

    Args:
        endpoint: the ``.endpoint`` of both; a unique one when ``None``.
        peer: the ``.peer`` of both; an empty :class:`ipcpipes.PeerIdentity` when ``None``.
    """
    if endpoint is None:
        endpoint = unique_endpoint()
    if peer is None:
        peer = PeerIdentity()
    left, right = trio.testing.memory_stream_pair()
    return MemoryStream(left, endpoint, peer), MemoryStream(right, endpoint, peer)
