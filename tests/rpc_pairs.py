"""The sessions of a client and a server without a transport: one receives what the other emits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ipcpipes import rpc
from ipcpipes.rpc.core.arguments import encode_arguments
from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.call_pipes import Push
from ipcpipes.rpc.core.session import Event, Happened, Session
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.definition.operations import Definition
from ipcpipes.rpc.wire.chunks import bytes_of, chunk_of
from ipcpipes.rpc.wire.format import LEAST_CREDIT, LEAST_FRAME, Limits
from ipcpipes.rpc.wire.metadata import NO_METADATA, Metadata, MetadataValue
from ipcpipes.rpc.wire.ndr import LARGEST_COUNT

# The smallest limits that are allowed, so that tests reach them.
NARROW = Limits(max_frame=LEAST_FRAME, credit=LEAST_CREDIT)


def definition(interface: type[rpc.Interface]) -> Definition:
    return interface._rpc_definition


class Pair:
    """Two sessions, and the frames on their way to each of them.

    Attributes:
        events: (the session, its event), in their order.
        sent: (the session, a frame it has emitted), in their order.
    """

    def __init__(
        self,
        served: type[rpc.Interface] | None,
        wanted: type[rpc.Interface] | None = None,
        *,
        client: Limits = NARROW,
        server: Limits = NARROW,
        bind: bool = True,
    ) -> None:
        definitions = {} if served is None else {str(definition(served).uuid): definition(served)}
        self.client = Session(Party.CLIENT, {}, client)
        self.server = Session(Party.SERVER, definitions, server)
        self.ends = {Party.CLIENT: self.client, Party.SERVER: self.server}
        self.coming: dict[Party, deque[bytes]] = {party: deque() for party in Party}
        self.events: list[tuple[Party, Event]] = []
        self.sent: list[tuple[Party, bytes]] = []
        if bind:
            self.bind(wanted or served)

    def bind(self, wanted: type[rpc.Interface] | None) -> None:
        assert wanted is not None
        self.client.bind(definition(wanted))
        self.pump()

    def gather(self, party: Party) -> None:
        """Takes the output of this end."""
        for frame in self.ends[party].take_output():
            self.coming[self.ends[party].peer].append(frame)
            self.sent.append((party, frame))

    def deliver(self, party: Party) -> Happened | None:
        """Delivers one frame to this end, if there is one."""
        self.gather(self.ends[party].peer)
        if not self.coming[party]:
            return None
        happened = self.ends[party].receive(self.coming[party].popleft())
        self.events.append((party, happened[0]))
        return happened

    def pump(self, *parties: Party) -> list[Happened]:
        """Delivers all frames that are on their way, to both ends or to the given ones."""
        events: list[Happened] = []
        while True:
            happened = [one for party in parties or tuple(Party) if (one := self.deliver(party))]
            if not happened:
                return events
            events += happened

    def request(
        self,
        name: str,
        *values: Any,
        milliseconds: int | None = None,
        metadata: Mapping[str, MetadataValue] = NO_METADATA,
    ) -> Call:
        """Begins a call; the request is still on its way."""
        assert self.client.definition is not None
        operation = self.client.definition.operations[name]
        return self.client.request(
            operation, encode_arguments(operation, values), milliseconds, Metadata(metadata).encoded
        )

    def begin(self, name: str, *values: Any, **options: Any) -> tuple[Call, Call]:
        """Begins a call: (the call at the client, the call at the server)."""
        call = self.request(name, *values, **options)
        self.pump()
        return call, self.server.calls[call.id]

    def finish(
        self, served: Call, result: Any = None, error: rpc.RpcError | None = None
    ) -> rpc.RpcError | None:
        """Ends the call at the server, and delivers the answer."""
        body = None if error is not None else msgspec.msgpack.encode(result)
        failure = served.finish(body, error)
        self.pump()
        return failure

    @property
    def is_idle(self) -> bool:
        """Whether no call and no frame is left."""
        return not (self.client.calls or self.server.calls or any(self.coming.values()))


def index_of(call: Call, name: str) -> int:
    return call.operation.flows[name].index


def push(call: Call, name: str, elements: Any) -> Push:
    """Pushes as many of the elements as credit allows now."""
    index = index_of(call, name)
    element = call.operation.pipes[index].element
    octets = bytes_of(elements, element)
    pushing = Push(octets, len(octets) // element.stride)
    call.check_push(index, pushing.count)
    go_on(call, name, pushing)
    return pushing


def go_on(call: Call, name: str, pushing: Push) -> bool:
    """Continues a push as far as credit allows; whether all of it was pushed."""
    while not pushing.done and call.push_some(index_of(call, name), pushing):
        pass
    return pushing.done


def push_small(call: Call, name: str, elements: Any) -> bool:
    index = index_of(call, name)
    octets = bytes_of(elements, call.operation.pipes[index].element)
    call.check_push(index, len(octets) // call.operation.pipes[index].element.stride)
    return call.push_small(index, octets)


def close(call: Call, name: str) -> bool:
    """Ends the pipe, if there is credit for it."""
    call.check_push(index_of(call, name), None)
    return call.close_pipe(index_of(call, name))


def pull(call: Call, name: str, max_elements: int = LARGEST_COUNT) -> list[Any] | None:
    """Elements that have come; ``[]`` at the end; ``None`` if there are no elements now."""
    index = index_of(call, name)
    octets = call.pull(index, max_elements)
    return None if octets is None else list(chunk_of(octets, call.operation.pipes[index].element))


def pull_all(call: Call, name: str) -> list[Any]:
    """All elements that have come, without the end."""
    found: list[Any] = []
    while chunk := pull(call, name):
        found += chunk
    return found


def result_of(call: Call) -> Any:
    """The result, at the client."""
    call.raise_failure()
    assert call.is_answered
    return call.operation.decode_result(call.body)


def arguments_of(call: Call) -> Any:
    """The arguments, at the server."""
    return call.operation.decode_arguments(call.body)


def kinds(frames: Iterable[bytes]) -> list[int]:
    return [frame[0] for frame in frames]
