"""The fuzz targets: each takes any bytes, and raises if an invariant does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from . import framings, handshake, rpc_arguments, rpc_frames, rpc_pipes, rpc_sessions, rpc_streams


class Target(NamedTuple):
    """A target, and the inputs that fuzzing begins with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


TARGETS = {
    "length_prefixed": Target(framings.length_prefixed, framings.seeds),
    "lines": Target(framings.lines, framings.seeds),
    "content_length": Target(framings.content_length, framings.seeds),
    "c_against_reference": Target(framings.c_against_reference, framings.seeds),
    "handshake": Target(handshake.handshake, handshake.seeds),
    "rpc_frames": Target(rpc_frames.frames, rpc_frames.seeds),
    "rpc_pipes": Target(rpc_pipes.pipes, rpc_pipes.seeds),
    "rpc_arguments": Target(rpc_arguments.arguments, rpc_arguments.seeds),
    "rpc_server": Target(rpc_sessions.server, rpc_sessions.seeds),
    "rpc_client": Target(rpc_sessions.client, rpc_sessions.seeds),
    "rpc_streams": Target(rpc_streams.two_ends, rpc_streams.seeds),
    "rpc_streams_server": Target(rpc_streams.server, rpc_streams.seeds),
}
