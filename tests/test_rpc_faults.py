"""What a client gets of an exception of a manager: notes, causes, groups, declared exceptions."""

from __future__ import annotations

import copy
import datetime
import logging
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core import exceptions
from ipcpipes.rpc.definition.operations import Definition
from ipcpipes.rpc.wire.bodies import decode_fault, encode_body, encode_fault
from ipcpipes.rpc.wire.format import Kind, decode, encode

from .rpc_both_drivers import DRIVERS, BothClients, connected, served

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

UTC_PLUS_2 = datetime.timezone(datetime.timedelta(hours=2))


@dataclass
class Place:
    shelf: int
    row: str = "top"


@dataclass(eq=False)
class NotFound(rpc.Fault):
    title: str
    place: Place | None = None
    near: list[str] = field(default_factory=list)
    since: datetime.datetime | None = None

    default_code = 404

    def __post_init__(self) -> None:
        super().__init__(f"there is no {self.title}")


class Closed(rpc.Fault, LookupError):
    default_message = "the library is closed"


@dataclass(eq=False)
class Undeclared(NotFound):
    more: int = 3


@dataclass(eq=False)
class Lent(rpc.Fault):
    until: int


class Basic(rpc.Interface, uuid="a4fbd3c6-1f3e-4a41-8f45-8e9d4a4f3001", version=(1, 0)):
    @rpc.operation
    def fail(self, number: int) -> int: ...


class Library(
    Basic,
    uuid="a4fbd3c6-1f3e-4a41-8f45-8e9d4a4f3002",
    version=(1, 1),
    raises=[NotFound, Closed],
):
    pass


class Branch(Library, uuid="a4fbd3c6-1f3e-4a41-8f45-8e9d4a4f3003", version=(1, 0), raises=[Lent]):
    @rpc.operation
    def lend(self, title: str) -> None: ...


class Manager(Library):
    def __init__(self) -> None:
        self.raises: Callable[[], object] = int

    def fail(self, number: int) -> int:
        self.raises()
        return number


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture(
    params=[(one, other) for one in DRIVERS for other in DRIVERS], ids=lambda pair: "-".join(pair)
)
def client(request: pytest.FixtureRequest, manager: Manager) -> Iterator[BothClients]:
    server, driver = request.param
    with served(server, manager) as endpoint, connected(driver, Library, endpoint) as found:
        yield found


def failure_of(client: BothClients) -> rpc.Fault:
    with pytest.raises(rpc.Fault) as caught:
        client.call("fail", 1)
    return caught.value


def raising(error: BaseException, cause: BaseException | None = None) -> Callable[[], object]:
    def fail() -> None:
        raise error from cause

    return fail


def noted(error: BaseException, *notes: Any) -> Any:
    error.__notes__ = [*notes]
    return error


def test_notes_and_causes_arrive(client: BothClients, manager: Manager) -> None:
    first = noted(KeyError("first"), "of the first")
    second = OSError(2, "second")
    second.__cause__ = first
    manager.raises = raising(noted(ValueError("third"), "one", "two"), second)
    fault = failure_of(client)
    assert (fault.type, fault.message, fault.notes) == ("ValueError", "third", ("one", "two"))
    cause = fault.__cause__
    assert isinstance(cause, rpc.Fault)
    assert (cause.type, cause.message) == ("FileNotFoundError", "[Errno 2] second")
    assert isinstance(cause.__cause__, rpc.Fault)
    assert cause.__cause__.notes == ("of the first",)
    assert cause.__cause__.__cause__ is None
    text = "".join(traceback.format_exception(fault))
    assert text.index("'first'") < text.index("[Errno 2]") < text.index("ValueError: third")
    if sys.version_info >= (3, 11):
        assert "of the first" in text


def test_an_exception_that_was_being_handled_is_not_sent(
    client: BothClients, manager: Manager
) -> None:
    def fail() -> None:
        try:
            raise KeyError("secret")
        except KeyError:
            raise ValueError("public")  # noqa: B904

    manager.raises = fail
    fault = failure_of(client)
    assert (fault.message, fault.__cause__, fault.traceback) == ("public", None, None)


def test_exceptions_of_a_group_arrive(client: BothClients, manager: Manager) -> None:
    inner = ExceptionGroup("inner", [noted(TypeError("b"), "note"), NotFound("c")])
    manager.raises = raising(ExceptionGroup("outer", [rpc.Fault("a", code=7), inner]))
    fault = failure_of(client)
    assert (fault.type, fault.message) == ("ExceptionGroup", "outer (2 sub-exceptions)")
    first, second = fault.sub_exceptions
    assert (first.message, first.code, first.type) == ("a", 7, None)
    assert [one.message for one in second.sub_exceptions] == ["b", "there is no c"]
    assert second.sub_exceptions[0].notes == ("note",)
    assert isinstance(second.sub_exceptions[1], NotFound)


def test_a_group_of_one_is_its_exception(client: BothClients, manager: Manager) -> None:
    manager.raises = raising(ExceptionGroup("outer", [ExceptionGroup("inner", [Closed()])]))
    assert type(failure_of(client)) is Closed


def test_declared_exceptions_arrive_with_their_fields(
    client: BothClients, manager: Manager
) -> None:
    since = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=UTC_PLUS_2)
    manager.raises = raising(
        noted(NotFound("atlas", Place(3), ["a", "b"], since), "look again"), KeyError("atlas")
    )
    fault = failure_of(client)
    assert type(fault) is NotFound
    assert (fault.title, fault.place, fault.near) == ("atlas", Place(3, "top"), ["a", "b"])
    assert fault.since is not None
    assert (fault.since, fault.since.utcoffset()) == (since, since.utcoffset())
    assert (fault.message, fault.code, fault.type) == ("there is no atlas", 404, None)
    assert str(fault) == "there is no atlas"
    assert fault.notes == ("look again",)
    assert isinstance(fault.__cause__, rpc.Fault)
    manager.raises = raising(NotFound("atlas"))
    assert failure_of(client).near == []  # type: ignore[attr-defined]


def test_a_declared_exception_without_fields_arrives(client: BothClients, manager: Manager) -> None:
    manager.raises = raising(Closed("on Sundays", code=9))
    fault = failure_of(client)
    assert (type(fault), fault.message, fault.code) == (Closed, "on Sundays", 9)
    manager.raises = raising(Closed())
    with pytest.raises(LookupError, match=r"^the library is closed$"):
        client.call("fail", 1)


def test_a_subclass_of_a_declared_exception_arrives_as_that_one(
    client: BothClients, manager: Manager
) -> None:
    manager.raises = raising(Undeclared("atlas"))
    assert type(failure_of(client)) is NotFound


def test_an_exception_that_is_not_declared_is_a_fault(
    client: BothClients, manager: Manager
) -> None:
    manager.raises = raising(Lent(5))
    fault = failure_of(client)
    assert (type(fault), fault.message) == (rpc.Fault, "the server's manager failed")


def test_fields_that_cannot_be_sent(
    client: BothClients, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.raises = raising(NotFound("atlas", near=[object()]))  # type: ignore[list-item]
    fault = failure_of(client)
    assert (type(fault), fault.message, fault.code) == (rpc.Fault, "there is no atlas", 404)
    assert caplog.messages == [
        "the fields of NotFound cannot be sent: object is not a type that can be sent"
    ]
    caplog.clear()
    broken = NotFound("atlas")
    del broken.near
    manager.raises = raising(broken)
    assert type(failure_of(client)) is rpc.Fault
    assert caplog.messages[0].startswith("the fields of NotFound cannot be sent: ")


def test_fields_that_are_not_of_their_types(client: BothClients, manager: Manager) -> None:
    manager.raises = raising(NotFound(5))  # type: ignore[arg-type]
    with pytest.raises(rpc.BadStubData) as caught:
        client.call("fail", 1)
    assert str(caught.value) == (
        "the fields of NotFound are not of their types: Expected `str`, got `int` - at `$.title`; "
        "its message is: there is no 5"
    )
    manager.raises = int
    assert client.call("fail", 1) == 1


def test_only_unexpected_exceptions_are_logged(
    client: BothClients, manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (NotFound("atlas"), Closed(), rpc.Fault("no")):
        manager.raises = raising(error)
        failure_of(client)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    manager.raises = raising(KeyError("atlas"))
    failure_of(client)
    assert caplog.messages == ["Basic.fail failed"]


def test_attributes_that_a_manager_has_spoilt(client: BothClients, manager: Manager) -> None:
    error = noted(rpc.Fault("no"), 3, "kept", None)
    error.message, error.code, error.type = 5, "odd", 7
    manager.raises = raising(error)
    fault = failure_of(client)
    assert (fault.message, fault.code, fault.type, fault.notes) == ("5", 1726, "7", ("kept",))
    error = rpc.Fault("no")
    error.__dict__.clear()
    setattr(error, "__notes__", 5)  # noqa: B010
    manager.raises = raising(error)
    assert failure_of(client).message == "the server's manager failed"


def test_a_fault_of_another_server_goes_through(client: BothClients, manager: Manager) -> None:
    manager.raises = raising(ExceptionGroup("far", [KeyError("a"), ValueError("b")]), OSError("c"))
    far = failure_of(client)
    manager.raises = raising(far, far.__cause__)
    near = failure_of(client)
    assert (near.type, near.message) == ("ExceptionGroup", "far (2 sub-exceptions)")
    assert [one.type for one in near.sub_exceptions] == ["KeyError", "ValueError"]
    assert isinstance(near.__cause__, rpc.Fault)
    assert near.__cause__.message == "c"


def test_what_is_sent_is_bounded(client: BothClients, manager: Manager) -> None:
    long = "x" * 100_000
    error: BaseException = ValueError(long)
    for _ in range(100):
        error = noted(ValueError(long), *[long] * 100)
        error.__cause__ = ExceptionGroup(long, [noted(KeyError(long), long)] * 100)
    manager.raises = raising(error, error.__cause__)
    fault = failure_of(client)
    assert len(fault.message) == exceptions.LONGEST_TEXT + 3
    assert len(fault.notes) <= exceptions.MOST_NOTES
    assert sum(len(text) for text in texts_of(fault)) < exceptions.MOST_TEXT + 3 * 5000
    manager.raises = raising(ExceptionGroup("many", [KeyError()] * 100))
    assert len(failure_of(client).sub_exceptions) == exceptions.MOST_EXCEPTIONS - 1


def test_deep_and_circular_causes_are_cut(client: BothClients, manager: Manager) -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    manager.raises = raising(one, other)
    found: BaseException | None = failure_of(client)
    depth = 0
    while found is not None:
        depth, found = depth + 1, found.__cause__
    assert depth == exceptions.DEEPEST + 1


def texts_of(fault: rpc.RpcError) -> list[str]:
    inner = [*fault.sub_exceptions]
    if isinstance(fault.__cause__, rpc.RpcError):
        inner.append(fault.__cause__)
    return [
        fault.message,
        fault.type or "",
        *fault.notes,
        *[text for one in inner for text in texts_of(one)],
    ]


def test_a_fault_that_fits_no_frame_is_shortened() -> None:
    error = rpc.Fault("message", code=7).carrying(["note"], rpc.Fault("cause"), [rpc.Fault("a")])
    error._declared = ("NotFound", encode_body({"title": "atlas"}))
    whole = encode_fault(error, lambda body: True)
    short = encode_fault(error, lambda body: False)
    assert short == encode_body({"code": 7, "message": "message", "type": None, "traceback": None})
    assert len(whole) > len(short)


@pytest.mark.parametrize(
    "change", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_are_equal(change: Callable[[Any], Any]) -> None:
    fault = NotFound("atlas", Place(1)).carrying(["note"], None, [rpc.Fault("inner", code=3)])
    found = change(fault)
    assert type(found) is NotFound
    assert (found.title, found.place, found.message) == ("atlas", Place(1), "there is no atlas")
    assert (found.notes, found.code) == (("note",), 404)
    assert [(one.message, one.code) for one in found.sub_exceptions] == [("inner", 3)]


def test_each_caller_gets_a_copy_of_its_own() -> None:
    fault = NotFound("atlas").carrying(["note"], rpc.Fault("cause"), [rpc.Fault("inner")])
    one, other = fault.again(), fault.again()
    noted(one, *one.notes, "more")
    assert isinstance(one, NotFound)
    assert (one.title, one.notes, other.notes) == ("atlas", ("note", "more"), ("note",))
    assert one.__cause__ is fault.__cause__
    assert one.sub_exceptions == fault.sub_exceptions
    assert one.first is fault


# Versions


def received(body: dict[str, Any], interface: type[rpc.Interface] = Library) -> rpc.RpcError:
    definition: Definition = interface._rpc_definition
    frame = decode(encode(Kind.FAULT, 1, encode_body({"code": 404, "message": "no", **body})))
    return decode_fault(frame, definition.operations["fail"].raises)


def test_a_client_that_does_not_know_the_exception_gets_a_fault() -> None:
    for body, interface in (
        ({"raised": "NotFound", "fields": {"title": "atlas"}}, Basic),
        ({"raised": "Newer", "fields": {"title": "atlas"}}, Library),
    ):
        fault = received(body, interface)
        assert (type(fault), fault.code, fault.message) == (rpc.Fault, 404, "no")


def test_fields_may_be_added_with_defaults() -> None:
    fault = received({"raised": "NotFound", "fields": {"title": "atlas", "newer": {"a": 1}}})
    assert isinstance(fault, NotFound)
    assert (fault.title, fault.place, fault.near) == ("atlas", None, [])
    assert type(received({"raised": "NotFound"})) is rpc.BadStubData
    assert type(received({"raised": "Closed"})) is Closed


@pytest.mark.parametrize(
    "body",
    [
        {"notes": 5},
        {"notes": [5]},
        {"cause": []},
        {"cause": {"code": 1}},
        {"exceptions": {"code": 1}},
        {"exceptions": [{}]},
        {"raised": 5},
    ],
)
def test_malformed_parts_end_the_connection(body: dict[str, Any]) -> None:
    with pytest.raises(rpc.ProtocolError, match=r"^the body of FAULT is malformed: "):
        received(body)


def test_parts_in_too_many_levels_end_the_connection() -> None:
    cause: dict[str, Any] = {}
    for _ in range(600):
        cause = {"code": 1, "message": "", "cause": cause} if cause else {"code": 1, "message": ""}
    with pytest.raises(rpc.ProtocolError, match=r"^the body of FAULT is malformed: "):
        received({"cause": cause})


# Definitions


def defined(*raises: Any) -> type[rpc.Interface]:
    class Defined(
        rpc.Interface,
        uuid="a4fbd3c6-1f3e-4a41-8f45-8e9d4a4f3004",
        version=(1, 0),
        raises=raises,
    ):
        pass

    return Defined


def refused(rule: str, text: str, *raises: Any) -> None:
    with pytest.raises(rpc.DefinitionError) as caught:
        defined(*raises)
    assert caught.value.rule == rule
    assert str(caught.value) == f"interface Defined: {text} (rule: {rule})"


def test_a_derived_interface_raises_what_its_base_raises() -> None:
    raises = Branch._rpc_definition.raises
    assert [*raises] == ["NotFound", "Closed", "Lent"]
    for operation in Branch._rpc_definition.operations.values():
        assert operation.raises == raises
    assert [*Library._rpc_definition.operations["fail"].raises] == ["NotFound", "Closed"]
    assert not Basic._rpc_definition.operations["fail"].raises


def test_only_faults_can_be_declared() -> None:
    refused("raises", "<class 'KeyError'> is not a subclass of rpc.Fault", KeyError)
    refused(
        "raises", "<class 'ipcpipes.rpc.errors.Fault'> is not a subclass of rpc.Fault", rpc.Fault
    )
    refused("raises", "5 is not a subclass of rpc.Fault", 5)


def test_two_declared_exceptions_have_different_names() -> None:
    other = type("NotFound", (rpc.Fault,), {})
    refused("raises", "two classes are called NotFound; rename one of them", NotFound, other)
    assert [*defined(NotFound, NotFound)._rpc_definition.raises] == ["NotFound"]


@pytest.mark.parametrize("options", [{"eq": True}, {"frozen": True}, {"slots": True}])
def test_declared_dataclasses_can_be_raised(options: dict[str, bool]) -> None:
    @partial(dataclass, **{"eq": False, **options})
    class Odd(rpc.Fault):
        title: str

    cure = "use @dataclass(eq=False), without frozen and slots"
    refused("raises", f"Odd cannot be raised; {cure}", Odd)


def test_fields_have_types_that_can_be_sent() -> None:
    @dataclass(eq=False)
    class Odd(rpc.Fault):
        value: complex

    cure = "use a dataclass, a msgspec.Struct or a TypedDict"
    refused("types", f"complex cannot be sent; {cure}", Odd)

    @dataclass(eq=False)
    class Unknown(rpc.Fault):
        value: Nowhere  # type: ignore[name-defined]  # noqa: F821

    refused(
        "types",
        "the annotations of Unknown cannot be understood: name 'Nowhere' is not defined",
        Unknown,
    )


@pytest.mark.parametrize("name", ["message", "code", "type", "traceback", "sub_exceptions", "args"])
def test_fields_do_not_replace_the_attributes_of_faults(name: str) -> None:
    odd: Any = dataclass(eq=False)(type("Odd", (rpc.Fault,), {"__annotations__": {name: int}}))
    refused("raises", f"Odd.{name} is an attribute of every fault; rename it", odd)


def test_raises_without_an_identity() -> None:
    with pytest.raises(rpc.DefinitionError) as caught:

        class Nameless(rpc.Interface, raises=[Closed]):
            pass

    assert caught.value.rule == "identity"
