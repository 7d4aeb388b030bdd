"""docs/protocol.md agrees with the code: bytes, tables and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.arguments import encode_arguments
from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.call_pipes import Push
from ipcpipes.rpc.core.session import Session
from ipcpipes.rpc.core.state import CALL, CONNECTION, CallState, ConnectionState, Party
from ipcpipes.rpc.definition.elements import LARGEST, element_of
from ipcpipes.rpc.errors import FAULT_STATUS, CallCancelled
from ipcpipes.rpc.wire import format as wire
from ipcpipes.rpc.wire.chunks import bytes_of
from ipcpipes.rpc.wire.format import HEAD, Kind, Limits, decode, encode
from ipcpipes.rpc.wire.ndr import ChunkReader, ChunkWriter

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"

if not DOCUMENT.exists():
    pytest.skip("the documents are not beside the tests", allow_module_level=True)

TEXT = DOCUMENT.read_text("utf-8")


class Accumulator(rpc.Interface, uuid="5b4b1e6c-2f0e-4e57-9c4d-0a4c7b0f6f11", version=(1, 0)):
    """The interface of the worked example."""

    @rpc.operation
    async def running(
        self, scale: int, numbers: rpc.InPipe[rpc.int32], totals: rpc.OutPipe[rpc.int64]
    ) -> int:
        raise NotImplementedError


class Sample(rpc.Structure):
    """The interface of the vectors."""

    value: rpc.int32
    mark: rpc.byte


def section(title: str) -> str:
    """The text below a heading, up to the next heading of its level."""
    (found,) = re.findall(rf"^(#+) {re.escape(title)}$\n", TEXT, re.MULTILINE)
    pattern = rf"^{found} {re.escape(title)}$\n(.*?)(?=^#{{1,{len(found)}}} |\Z)"
    (text,) = re.findall(pattern, TEXT, re.MULTILINE | re.DOTALL)
    return str(text)


def rows(text: str) -> list[list[str]]:
    """The rows of each table in the text, without the heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rules = [place for place, row in enumerate(cells) if set("".join(row)) <= set("- ")]
    return [row for place, row in enumerate(cells) if place not in rules and place + 1 not in rules]


def blocks(text: str) -> list[str]:
    return re.findall(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# The worked example


class Recorder:
    """Two sessions that are connected directly; all frames between them are recorded."""

    def __init__(self) -> None:
        definition = Accumulator._rpc_definition
        self.operation = definition.operations["running"]
        self.client = Session(Party.CLIENT, {}, Limits())
        self.server = Session(Party.SERVER, {str(definition.uuid): definition}, Limits())
        self.client.bind(definition)
        self.lines: list[str] = []

    def go_on(self) -> None:
        """Passes all output to the other session."""
        ends = (self.client, self.server)
        while any(end.has_output for end in ends):
            for sender, receiver in (ends, ends[::-1]):
                for frame in sender.take_output():
                    self.lines += shown(sender.party.name.lower(), frame)
                    receiver.receive(frame)

    def push(self, call: Call, index: int, *numbers: int) -> None:
        octets = bytes_of(numbers, self.operation.pipes[index].element)
        call.check_push(index, len(numbers))
        push = Push(octets, len(numbers))
        while not push.done:
            assert call.push_some(index, push)
        self.go_on()

    def pull(self, call: Call, index: int) -> None:
        while call.pull(index):
            pass

    def close(self, call: Call, index: int) -> None:
        assert call.close_pipe(index)
        self.go_on()

    def begin(self, scale: int, milliseconds: int | None) -> tuple[Call, Call]:
        arguments = encode_arguments(self.operation, [scale])
        call = self.client.request(self.operation, arguments, milliseconds)
        self.go_on()
        return call, self.server.calls[call.id]


def dump(octets: bytes) -> Iterator[str]:
    for start in range(0, len(octets), 16):
        row = octets[start : start + 16]
        text = "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in row)
        yield f"    {row.hex(' '):48}| {text}"


def shown(sender: str, frame: bytes) -> Iterator[str]:
    """A frame with its length, as on a stream."""
    taken = decode(frame)
    yield f"{sender} {taken.kind.name}"
    yield f"    {len(frame).to_bytes(4, 'little').hex(' '):48}| the length, {len(frame)}"
    yield f"    {frame[: HEAD.size].hex(' '):48}| the head"
    yield from dump(frame[HEAD.size :])


def worked_example() -> str:
    recorder = Recorder()
    recorder.go_on()

    asked, served = recorder.begin(2, None)
    recorder.push(asked, 0, 1, 2, 3)
    recorder.push(asked, 0, 4)
    recorder.close(asked, 0)
    recorder.pull(served, 0)
    recorder.push(served, 1, 2, 6, 12)
    recorder.push(served, 1, 20)
    recorder.close(served, 1)
    recorder.pull(asked, 1)
    assert served.finish(msgspec.msgpack.encode(4), None) is None
    recorder.go_on()

    asked, served = recorder.begin(1, 5000)
    recorder.push(asked, 0, 1, 2)
    asked.orphan()
    recorder.go_on()
    with pytest.raises(CallCancelled) as cancelled:
        recorder.pull(served, 0)
    served.finish(None, cancelled.value)
    recorder.go_on()

    recorder.server.shut_down()
    recorder.go_on()
    assert not recorder.client.calls
    assert not recorder.server.calls
    return "".join(f"{line}\n" for line in recorder.lines)


def test_the_worked_example_is_what_the_code_sends() -> None:
    (written,) = blocks(section("A worked example"))
    made = worked_example()
    assert written == made, f"it should be\n{made}"


def test_the_frames_of_the_example_are_decoded() -> None:
    (written,) = blocks(section("Credits"))
    frame = encode(Kind.CREDIT, 7, number=1, amount=524_288)
    assert written == "".join(f"{line}\n" for line in shown("server", frame))


def test_the_connection_of_the_overview_is_allowed() -> None:
    (written,) = blocks(section("Overview"))
    link, call, kinds = ConnectionState.UNBOUND, CallState.NEW, []
    for line in written.splitlines()[1:]:
        sender = Party.SERVER if "<--" in line else Party.CLIENT
        (name,) = re.findall(r"\b[A-Z_]{2,}\b", line)
        kind = Kind[name]
        kinds.append(kind)
        link = CONNECTION[link, sender, kind]
        if link is ConnectionState.OPEN and kind is not Kind.BIND_ACK:
            call = CALL[call, sender, kind]
    assert (link, call) == (ConnectionState.OPEN, CallState.DONE)
    assert kinds.count(Kind.PIPE) == 2


# The vectors


def test_the_vectors_are_what_the_code_writes_and_reads() -> None:
    table = rows(section("Chunks"))
    vectors = {
        "`int32`": ((1, 2, 3), (4,)),
        "`byte`": ((0x41, 0x42, 0x43), (0x44,)),
        "`int64`": ((1,), (2,)),
        "`boolean`": ((True,),),
        "`{value: int32, mark: byte}`": ((Sample(1, 2), Sample(3, 4)), (Sample(5, 6),)),
    }
    elements = {
        "`int32`": rpc.int32,
        "`byte`": rpc.byte,
        "`int64`": rpc.int64,
        "`boolean`": rpc.boolean,
        "`{value: int32, mark: byte}`": Sample,
    }
    seen = set()
    for name, _, text in table:
        if name not in vectors:
            continue
        seen.add(name)
        element = element_of(elements[name])
        writer = ChunkWriter(element)
        made = b""
        for chunk in vectors[name]:
            octets = bytes_of(chunk, element)
            made += (
                writer.prefix(len(chunk)) + octets[: len(octets) - element.stride + element.size]
            )
        made += writer.end()
        assert text.strip("`") == made.hex(" ", 4), f"{name}: {made.hex()}"
        reader = ChunkReader(element)
        reader.feed(memoryview(made))
        assert reader.ended
    assert seen == set(vectors)


# The tables


def test_the_kinds_are_those_of_the_code() -> None:
    written = {name.strip("`"): int(number) for number, name, *_ in rows(section("Kinds"))}
    assert written == {kind.name: int(kind) for kind in Kind}


@pytest.mark.parametrize(
    ("title", "body"),
    [
        ("BIND", wire.Bind),
        ("BIND_ACK", wire.BindAck),
        ("BIND_NAK and SHUTDOWN", wire.Reason),
        ("FAULT", wire.FaultBody),
    ],
)
def test_the_bodies_are_those_of_the_code(title: str, body: type[msgspec.Struct]) -> None:
    written = rows(section(title))
    assert [row[0].strip("`") for row in written] == list(body.__struct_fields__)
    required = len(body.__struct_fields__) - len(body.__struct_defaults__)
    assert [row[2] == "yes" for row in written] == [
        place < required for place in range(len(written))
    ]


def transitions(
    table: dict[tuple[ConnectionState, Party, Kind], ConnectionState]
    | dict[tuple[CallState, Party, Kind], CallState],
) -> set[tuple[str, str, str, str]]:
    return {
        (state.name, party.name.lower(), kind.name, after.name)
        for (state, party, kind), after in table.items()
    }


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("The states of a connection", transitions(CONNECTION)),
        ("The states of a call", transitions(CALL)),
    ],
)
def test_the_states_are_those_of_the_code(
    title: str, expected: set[tuple[str, str, str, str]]
) -> None:
    written = set()
    for state, senders, kinds, after in rows(section(title)):
        for sender in re.split(r", | or ", senders):
            for kind in re.findall(r"`(\w+)`", kinds):
                for one in re.findall(r"`(\w+)`", state):
                    now = after.strip("`")
                    written.add((one, sender, kind, one if now == "the same" else now))
    assert written == expected


def test_the_limits_are_those_of_the_code() -> None:
    written = {name.strip("`"): numbers for name, *numbers in rows(section("Limits"))}
    most = {"max_frame": 2**31 - 1, "credit": 2**32 - 1, "calls": 2**20}
    least = {"max_frame": wire.LEAST_FRAME, "credit": wire.LEAST_CREDIT, "calls": 1}
    usual = Limits()
    for name, (low, default, high) in ((name, written[name][:3]) for name in most):
        assert int(low.replace(",", "")) == least[name]
        # The handshake has the credit at the beginning of a pipe.
        told = usual.first_credit if name == "credit" else getattr(usual, name)
        assert int(default.replace(",", "")) == told
        assert int(high.replace(",", "")) == most[name]
        Limits(**{name: least[name]})
        Limits(**{name: most[name]})
        for beyond in (least[name] - 1, most[name] + 1):
            with pytest.raises(ValueError, match=name):
                Limits(**{name: beyond})
    assert f"{LARGEST:,} octets" in section("Elements")


def test_the_codes_are_those_of_the_code() -> None:
    codes = {
        value.default_code: name
        for name in rpc.__all__
        if isinstance(value := getattr(rpc, name), type)
        and issubclass(value, rpc.RpcError)
        and "default_code" in vars(value)  # otherwise it has the code of its base
    }
    written = rows(section("Codes"))
    for code, status, name in ((row[0], row[1], row[3]) for row in written):
        assert name.strip("`") == f"rpc.{codes[int(code)]}"
        expected = FAULT_STATUS.get(int(code))
        assert status == ("" if expected is None else f"0x{expected:08X}")
    # The codes that a server may send; the others are never sent.
    assert {int(row[0]) for row in written} >= set(FAULT_STATUS)
