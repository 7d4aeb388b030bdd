"""A conversation with a frame of each kind, in bytes that never change."""

from __future__ import annotations

from typing import Annotated

from ipcpipes import rpc
from ipcpipes.rpc.core.metadata import answer_metadata_of
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.core.stream_call import StreamCall
from ipcpipes.rpc.wire.format import Kind, Limits

from .rpc_pair_work import Work
from .rpc_pairs import Pair, close, pull, pull_all, push

C, S = Party.CLIENT, Party.SERVER


class Golden(rpc.Interface, uuid="00112233-4455-6677-8899-aabbccddeeff", version=(1, 2)):
    @rpc.operation
    def add(self, a: int, b: int) -> int:
        raise NotImplementedError

    @rpc.operation
    def copy(
        self, into: rpc.InPipe[rpc.int16], out: Annotated[rpc.OutPipe[rpc.byte], rpc.Range(0, 9)]
    ) -> None: ...


def golden_conversation() -> list[tuple[Party, bytes]]:
    """One frame of each kind, in a possible order."""
    pair = Pair(
        Golden, client=Limits(credit=2**20), server=Limits(max_frame=2**20, credit=2**18, calls=3)
    )
    call, served = pair.begin("add", 2, 3, metadata={"trace": b"\x01", "attempt": 2})
    answer_metadata_of(served)["cached"] = True
    pair.finish(served, 5)
    call, served = pair.begin("copy", milliseconds=2500)
    push(call, "into", [1, -2])
    close(call, "into")
    pair.pump()
    pull_all(served, "into")
    push(served, "out", b"abc")
    call.cancel()
    pair.pump()
    pair.finish(served, error=rpc.Fault("no", code=7, type="KeyError"))
    call, served = pair.begin("copy")
    push(call, "into", bytes(2**18 - 4))
    pair.pump()
    pull(served, "into")
    call.orphan()
    pair.pump()
    pair.client.ping()
    pair.pump()
    pair.server.shut_down("bye")
    pair.pump()
    refused = Pair(Work, Golden)
    return pair.sent + [one for one in refused.sent if one[0] is S]


GOLDEN: list[tuple[Party, Kind, str]] = [
    (
        C,
        Kind.BIND,
        """0100000000000000 0000000000000000
        87a870726f746f636f6c01a475756964d92430303131323233332d343435352d363637372d383839
        392d616162626363646465656666a776657273696f6e920102a96d61785f6672616d65ce01000000
        a6637265646974ce00100000a46e616d65a6476f6c64656ea86d65746164617461cd2000""",
    ),
    (
        S,
        Kind.BIND_ACK,
        """0200000000000000 0000000000000000
        87a870726f746f636f6c01a776657273696f6e920102a96d61785f6672616d65ce00100000a66372
        65646974ce00040000a563616c6c7303aa6f7065726174696f6e739292a3616464a092a4636f7079
        be696e20696e7431362c206f757420627974652072616e676528302c203929a86d65746164617461
        cd2000""",
    ),
    (
        C,
        Kind.METADATA,
        """0f00000000000000 0100000000000000
        82a57472616365c40101a7617474656d707402""",
    ),
    (
        C,
        Kind.REQUEST,
        """0400000000000000 0100000000000000
        920203""",
    ),
    (
        S,
        Kind.METADATA,
        """0f00000000000000 0100000000000000
        81a6636163686564c3""",
    ),
    (
        S,
        Kind.RESPONSE,
        """0500000000000000 0100000000000000
        05""",
    ),
    (
        C,
        Kind.REQUEST,
        """04020100c4090000 0200000000000000
        90""",
    ),
    (
        C,
        Kind.PIPE,
        """0700000000000000 0200000000000000
        020000000100feff""",
    ),
    (
        C,
        Kind.PIPE,
        """0700000000000000 0200000000000000
        00000000""",
    ),
    (
        S,
        Kind.PIPE,
        """0700010000000000 0200000000000000
        03000000616263""",
    ),
    (
        C,
        Kind.CANCEL,
        """0900000000000000 0200000000000000""",
    ),
    (
        S,
        Kind.FAULT,
        """0600000000000000 0200000000000000
        84a4636f646507a76d657373616765a26e6fa474797065a84b65794572726f72a974726163656261
        636bc0""",
    ),
    (
        C,
        Kind.REQUEST,
        """0400010000000000 0300000000000000
        90""",
    ),
    (
        S,
        Kind.CREDIT,
        """08000000f4ff0300 0300000000000000""",
    ),
    (
        C,
        Kind.ORPHANED,
        """0a00000000000000 0300000000000000""",
    ),
    (
        C,
        Kind.PING,
        """0b00000000000000 0000000000000000""",
    ),
    (
        S,
        Kind.PONG,
        """0c00000000000000 0000000000000000""",
    ),
    (
        S,
        Kind.SHUTDOWN,
        """0d00000000000000 0000000000000000
        83a4636f646500a76d657373616765a3627965a96c6173745f63616c6c03""",
    ),
    (
        S,
        Kind.BIND_NAK,
        """0300000000000000 0000000000000000
        83a4636f6465cd06b5a76d657373616765d9557468652073657276657220646f6573206e6f742073
        657276652074686520696e7465726661636520476f6c64656e202830303131323233332d34343535
        2d363637372d383839392d61616262636364646565666629a96c6173745f63616c6c00""",
    ),
]


class GoldenStreams(rpc.Interface, uuid="00112233-4455-6677-8899-aabbccddeef0", version=(1, 0)):
    @rpc.operation
    def chat(self, asked: rpc.InStream[str], answers: rpc.OutStream[str]) -> int:
        raise NotImplementedError


def golden_streams() -> list[tuple[Party, bytes]]:
    """The frames of a call with streams, whose client leaves the second one."""
    pair = Pair(GoldenStreams)
    bound = len(pair.sent)
    call, served = pair.begin("chat")
    assert isinstance(call, StreamCall)
    assert isinstance(served, StreamCall)
    call.send(0, b"\xa2hi")
    pair.pump()
    served.send(1, b"\xa2ho")
    pair.pump()
    call.leave_stream(1)
    call.end_stream(0)
    pair.pump()
    served.end_stream(1)
    pair.finish(served, 1)
    return pair.sent[bound:]


GOLDEN_STREAMS: list[tuple[Party, Kind, str]] = [
    (C, Kind.REQUEST, "04000000000000000100000000000000 90"),
    (C, Kind.STREAM, "0e000000000000000100000000000000 91 a26869"),
    (S, Kind.STREAM, "0e000100000000000100000000000000 91 a2686f"),
    (C, Kind.STOP, "10000100000000000100000000000000"),
    (C, Kind.STREAM, "0e010000000000000100000000000000"),
    (S, Kind.RESPONSE, "05000000000000000100000000000000 01"),
]
# The handshake of a peer that knows no metadata (up to revision 1.2).
OLD_BIND = """0100000000000000 0000000000000000
    86a870726f746f636f6c01a475756964d92430303131323233332d343435352d363637372d383839
    392d616162626363646465656666a776657273696f6e920102a96d61785f6672616d65ce01000000
    a6637265646974ce00100000a46e616d65a6476f6c64656e"""
OLD_BIND_ACK = """0200000000000000 0000000000000000
    86a870726f746f636f6c01a776657273696f6e920102a96d61785f6672616d65ce00100000a66372
    65646974ce00040000a563616c6c7303aa6f7065726174696f6e739292a3616464a092a4636f7079
    be696e20696e7431362c206f757420627974652072616e676528302c203929"""
