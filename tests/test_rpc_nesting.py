"""The depth of arguments, results and frame bodies: one limit, whatever Python's own limit is."""

from __future__ import annotations

from typing import Any, Optional

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.framing.messagepack import DEEPEST, check_depth
from ipcpipes.rpc.definition.type_parts import can_nest
from ipcpipes.rpc.wire.bodies import decode_body
from ipcpipes.rpc.wire.format import Bind, Kind, decode, encode

from .rpc_both_drivers import DRIVERS, connected, served
from .rpc_over_links import bad_stub_data

TOO_DEEP = f"the MessagePack value has more than {DEEPEST} levels of arrays and maps"


class Node(msgspec.Struct):
    """A type that contains itself."""

    next: Optional[Node] = None  # noqa: UP045  # Python 3.10's get_type_hints needs it


class Leaf(msgspec.Struct):
    number: int = 0


class Pair(msgspec.Struct):
    left: Leaf
    right: Leaf


class Trees(rpc.Interface, uuid="5c0f1a77-6d44-4a0e-9f52-8f4b2b1c7d10", version=(1, 0)):
    """Receives and returns values of any depth."""

    @rpc.operation
    def depth_of_any(self, value: Any) -> int: ...
    @rpc.operation
    def depth_of_node(self, value: Node) -> int: ...
    @rpc.operation
    def any_of_depth(self, depth: int) -> Any: ...
    @rpc.operation
    def node_of_depth(self, depth: int) -> Node: ...


class TreesManager(Trees):
    def depth_of_any(self, value: Any) -> int:
        depth = 0
        while value:
            depth, (value,) = depth + 1, value
        return depth

    def depth_of_node(self, value: Node | None) -> int:
        depth = 0
        while value is not None:
            depth, value = depth + 1, value.next
        return depth

    def any_of_depth(self, depth: int) -> Any:
        return nested_lists(depth)

    def node_of_depth(self, depth: int) -> Node:
        return nested_nodes(depth)


def nested_lists(depth: int) -> Any:
    """So many lists, and a number in the innermost."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def nested_nodes(depth: int) -> Node:
    node = Node()
    for _ in range(depth - 1):
        node = Node(node)
    return node


@pytest.mark.parametrize("driver", DRIVERS)
def test_too_deep_arguments_fail_their_call_alone(driver: str) -> None:
    # The array of the arguments is a level too.
    deepest = DEEPEST - 1
    with (
        served(driver, TreesManager()) as endpoint,
        connected("blocking", Trees, endpoint) as client,
    ):
        for name, value in (
            ("depth_of_any", nested_lists(deepest + 1)),
            ("depth_of_node", nested_nodes(deepest + 1)),
        ):
            with bad_stub_data() as caught:
                client.call(name, value)
            assert caught.value.message == f"Trees.{name}: {TOO_DEEP}"
        assert client.call("depth_of_any", nested_lists(deepest)) == deepest
        assert client.call("depth_of_node", nested_nodes(deepest)) == deepest


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_too_deep_result_fails_its_call_alone(driver: str) -> None:
    with (
        served("blocking", TreesManager()) as endpoint,
        connected(driver, Trees, endpoint) as client,
    ):
        for name in ("any_of_depth", "node_of_depth"):
            with bad_stub_data() as caught:
                client.call(name, DEEPEST + 1)
            assert caught.value.message == (
                f"the result of Trees.{name} is not of its type: {TOO_DEEP}"
            )
        assert client.call("any_of_depth", DEEPEST) == nested_lists(DEEPEST)
        node = client.call("node_of_depth", DEEPEST)
        assert TreesManager().depth_of_node(node) == DEEPEST


@pytest.mark.parametrize(
    "annotation",
    [Any, list, dict[str, Any], Node, list[Node], tuple[int, Node | None], msgspec.Raw],
    ids=str,
)
def test_types_of_any_depth_are_found(annotation: Any) -> None:
    assert can_nest([int, annotation])


@pytest.mark.parametrize(
    "annotation", [int, Pair, dict[str, list[Pair]], tuple[Leaf, Leaf, Pair] | None], ids=str
)
def test_types_of_a_fixed_depth_need_no_check(annotation: Any) -> None:
    assert not can_nest([annotation])


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\x00", b"\xdc\x00\x01", b"\x92\xc0"])
def test_every_container_is_a_level(opening: bytes) -> None:
    check_depth(opening * DEEPEST + b"\xc0")
    with pytest.raises(ValueError, match=TOO_DEEP):
        check_depth(opening * (DEEPEST + 1) + b"\xc0")


@pytest.mark.parametrize("depth", [DEEPEST, 50_000])
def test_a_too_deep_body_is_a_protocol_error(depth: int) -> None:
    """Also in a field that the receiver does not know."""
    body = b"\x81\xa4more" + b"\x91" * depth + b"\0"
    with pytest.raises(rpc.ProtocolError, match=f"the body of BIND is .*: {TOO_DEEP}"):
        decode_body(decode(encode(Kind.BIND, 0, body)), Bind)
