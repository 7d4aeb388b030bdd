"""``open_child``: wrong arguments, and errors that it raises or passes on."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import ipcpipes
from ipcpipes import LengthPrefixed, blocking, open_child

from . import programs
from .processes import children_of_this_process

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


# Arguments


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"pass_fds": [3]}, TypeError, "takes no pass_fds"),
        ({"close_fds": False}, TypeError, "takes no close_fds"),
        ({"text": True}, TypeError, "takes no text"),
        ({"shell": True}, TypeError, "name it in the command"),
        ({"grace": -1}, ValueError, "grace must be 0 or more"),
        ({"grace": "5"}, TypeError, "grace must be a number"),
        ({"framing": 4}, TypeError, "framing must be"),
        ({"framing": LengthPrefixed(), "pipes": {"a": "send"}}, TypeError, "not both"),
        ({"pipes": {}}, TypeError, "one name or more"),
        ({"pipes": ["a"]}, TypeError, "one name or more"),
        ({"pipes": {"": "send"}}, ValueError, "not a name for a pipe"),
        ({"pipes": {"1st": "send"}}, ValueError, "not a name for a pipe"),
        ({"pipes": {"a" * 33: "send"}}, ValueError, "not a name for a pipe"),
        ({"pipes": {"log": "send", "LOG": "send"}}, ValueError, "two pipes named"),
        ({"pipes": {"log": "both"}}, ValueError, 'must be "duplex", "send" or "receive"'),
        ({"pipes": {"log": None}}, ValueError, 'must be "duplex", "send" or "receive"'),
        (
            {"no_such_option": 1},
            TypeError,
            r"^open_child\(\) got an unexpected keyword argument 'no_such_option'$",
        ),
    ],
)
async def test_wrong_options_are_refused_and_leave_nothing(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        async with open_child(programs.ECHO, **options):
            pytest.fail("it started")


@pytest.mark.parametrize("command", ["python", b"python", [], None, 5, lambda numbers: "python"])
async def test_wrong_commands_are_refused(command: Any) -> None:
    with pytest.raises(TypeError, match="a command is a sequence of one word or more"):
        async with open_child(command):
            pytest.fail("it started")


async def test_missing_program_is_named_and_nothing_is_left() -> None:
    receive_end, send_end = ipcpipes.open_anonymous_pipe()
    async with receive_end:
        with pytest.raises(FileNotFoundError, match="no-such-program"):
            async with open_child(["/no-such-program"], pipes={"out": send_end}):
                pytest.fail("it started")
        assert await receive_end.receive_some() == b""


class Unusable(LengthPrefixed):
    def splitter(self) -> Any:
        raise ValueError("no splitter")


async def test_failing_framing_leaves_no_process() -> None:
    pids: list[str] = []
    with pytest.raises(ValueError, match="no splitter"):
        async with open_child(programs.HANG, framing=Unusable(), stdout=pids.append):
            pytest.fail("it started")
    with (
        pytest.raises(ValueError, match="no splitter"),
        blocking.open_child(programs.HANG, framing=Unusable()),
    ):
        pytest.fail("it started")
    if sys.platform == "linux":
        assert not children_of_this_process()


async def test_missing_attribute_names_what_the_child_has() -> None:
    async with open_child(programs.plain_program("")) as child:
        with pytest.raises(AttributeError, match="opened without channel; it has stream"):
            child.channel  # noqa: B018
        with pytest.raises(AttributeError, match="opened without pipes; it has stream"):
            child.pipes  # noqa: B018


# Errors in the block


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt("mine")])
async def test_exception_of_the_block_is_not_wrapped(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with open_child(programs.plain_program(""), stdout=print):
            raise error
    assert caught.value is error


async def test_exception_group_of_the_block_is_not_nested() -> None:
    with pytest.raises(ExceptionGroup, match="mine") as caught:
        async with open_child(programs.plain_program("")):
            raise ExceptionGroup("mine", [ValueError("one"), KeyError("two")])
    assert [str(error) for error in caught.value.exceptions] == ["one", "'two'"]
