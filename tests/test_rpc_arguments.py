"""The arguments of a call: assigned to parameters, and encoded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.arguments import bind_arguments, encode_arguments


class Sample(rpc.Interface, uuid="6f1c6b1e-58b8-4b52-9d0c-0f6f4f0f7a10", version=(1, 0)):
    @rpc.operation
    def add(self, a: int, b: int = 1) -> int:
        raise NotImplementedError

    @rpc.operation
    def copy(
        self, name: str, data: rpc.InPipe[rpc.byte], copy: rpc.OutPipe[rpc.byte], mode: int = 7
    ) -> None: ...


ADD, COPY = Sample._rpc_definition.operations.values()
DATA, OUT = COPY.pipes


@pytest.mark.parametrize(
    ("given", "named", "values"),
    [
        ((3, 4), {}, [3, 4]),
        ((3,), {}, [3, 1]),
        ((), {"b": 4, "a": 3}, [3, 4]),
        ((3,), {"b": None}, [3, None]),
    ],
)
def test_values_are_in_the_order_of_the_signature(
    given: Any, named: dict[str, Any], values: list[Any]
) -> None:
    assert bind_arguments(ADD, given, named) == (values, {})


def test_pipes_are_separated_from_values() -> None:
    sink: list[int] = []
    for given, named in (
        (("x", b"abc", sink, 5), {}),
        (("x", b"abc"), {"mode": 5, "copy": sink}),
        ((), {"copy": sink, "data": b"abc", "mode": 5, "name": "x"}),
    ):
        assert bind_arguments(COPY, given, named) == (["x", 5], {DATA: b"abc", OUT: sink})
    assert bind_arguments(COPY, ("x", b"abc", sink), {})[0] == ["x", 7]


def test_a_pipe_that_was_not_given_is_absent() -> None:
    # begin() is called without the pipes.
    assert bind_arguments(COPY, ("x",), {}) == (["x", 7], {})
    assert bind_arguments(COPY, ("x",), {"copy": 5}) == (["x", 7], {OUT: 5})


@pytest.mark.parametrize(
    ("given", "named", "words"),
    [
        ((1, 2, 3), {}, r"^Sample.add\(\) takes 2 arguments, and 3 were given$"),
        ((), {}, r"^Sample.add\(\) is missing the argument 'a'$"),
        ((), {"b": 1}, r"^Sample.add\(\) is missing the argument 'a'$"),
        ((1,), {"a": 2}, r"^Sample.add\(\) got 'a' twice$"),
        ((1,), {"c": 2}, r"^Sample.add\(\) has no parameter 'c'$"),
    ],
)
def test_missing_unknown_and_repeated_arguments_are_refused(
    given: Any, named: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        bind_arguments(ADD, given, named)


def test_arguments_are_a_list() -> None:
    assert msgspec.msgpack.decode(encode_arguments(COPY, ["x", 5])) == ["x", 5]
    values = COPY.decode_arguments(encode_arguments(COPY, ["x", 5]))
    assert (values.name, values.mode) == ("x", 5)


@pytest.mark.parametrize(
    ("value", "kind"), [(object(), TypeError), (2**64, OverflowError), ("\udc00", ValueError)]
)
def test_the_error_names_the_argument(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^Sample.copy\(\): the argument mode cannot be sent: "):
        encode_arguments(COPY, ["x", value])
