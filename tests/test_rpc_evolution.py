"""docs/rpc-evolution.md is correct: each cell of its tables says what a client of one version gets
from a server of the other version.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ipcpipes import Endpoint, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .processes import SECONDS
from .rpc_both_drivers import DRIVERS, BothClients, connected
from .rpc_evolution import (
    CONNECTING,
    HAS_RUN,
    NOT_RUN,
    NOT_SENT,
    SILENT,
    WORKS,
    Call,
    Change,
    Outcome,
    Served,
    Witness,
    rows,
)
from .rpc_over_links import FIND_TESTS
from .threads import plain_child

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "rpc-evolution.md"
ROWS = rows()

_SERVER = f"""
{FIND_TESTS}
import logging
from ipcpipes import Endpoint
from ipcpipes.rpc import blocking as calls
from tests.rpc_evolution import managers
logging.disable()  # of the failures that the managers raise
version, kind, name = sys.argv[1:]
with blocking.listen(getattr(Endpoint, kind)(name)) as listener:
    serving = threading.Thread(target=calls.serve, args=(managers(version), listener))
    serving.start()
    say("ready")
    hear()
serving.join()
"""


@dataclasses.dataclass
class Server:
    """A process that serves one version of each interface.

    Attributes:
        witness: a client of the interface that every server has.
    """

    endpoint: Endpoint
    witness: Witness

    def runs(self) -> int:
        """How many managers have run."""
        return self.witness.runs()


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    """A server of the old versions, and one of the new versions."""
    found = {}
    with ExitStack() as stack:
        # Not in the directory of plain names, where a test must leave nothing behind.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ipc"))
        children = {}
        for version in ("old", "new"):
            endpoint = (
                unique_endpoint()
                if sys.platform == "win32"
                else Endpoint.path(f"{folder}/{version}")
            )
            block = plain_child(_SERVER, version, endpoint.kind, endpoint.name)
            children[version] = stack.enter_context(block), endpoint
        with ExitStack() as witnesses:
            for version, (child, endpoint) in children.items():
                assert child.hear() == "ready"
                witness = witnesses.enter_context(blocking.connect(Witness, endpoint))
                found[version] = Server(endpoint, witness)
            yield found
        for child, _ in children.values():
            child.say("enough")
            assert child.wait() == 0


def begun(client: BothClients) -> int:
    """How many calls this client has begun."""
    link = getattr(client.client, "blocking", client.client)._link
    count: int = link.session.last_call
    return count


def public_name(error: Exception) -> str:
    """The name of the exception's class; of a class that is not public, that of its base."""
    assert isinstance(error, rpc.RpcError), error
    return next(one.__name__ for one in type(error).__mro__ if one.__name__ in rpc.__all__)


def shown(error: rpc.Fault) -> tuple[Any, ...]:
    """A declared exception, to be compared."""
    fields: dict[str, Any] = dataclasses.asdict(error) if dataclasses.is_dataclass(error) else {}
    return type(error), error.code, str(error), fields


def outcome(client: BothClients, call: Call, declared: tuple[type[rpc.Fault], ...]) -> Any:
    """What the call gives: its result and the content of the sinks, or its exception."""
    sinks: list[list[Any]] = [[] for _ in range(call.sinks)]
    try:
        result = client.call_within(SECONDS, call.operation, *call.arguments, *sinks)
    except declared as error:
        return shown(error)
    except rpc.RpcError as error:
        return error
    return (result, *sinks) if sinks else result


def check(client: BothClients, call: Call, server: Server, interface: Served) -> None:
    declared = tuple(one.kind for one in interface.definition.raises.values())
    runs_before, begun_before = server.runs(), begun(client)
    found = outcome(client, call, declared)
    was_begun = begun(client) > begun_before
    has_run = server.runs() > runs_before
    if call.outcome.word in (WORKS, SILENT):
        gives = shown(call.gives) if isinstance(call.gives, declared) else call.gives
        assert found == gives
        assert was_begun
        if call.count:
            assert client.call_within(SECONDS, call.count) == 0
        else:
            assert has_run
        return
    assert public_name(found) == call.outcome.word, found
    assert call.gives in found.message
    assert (was_begun, has_run) == {
        NOT_SENT: (False, False),
        NOT_RUN: (True, False),
        HAS_RUN: (True, True),
    }[call.outcome.stage]


def check_all(client: str, interface: Served, server: Server, calls: list[Call]) -> None:
    if any(call.outcome.stage == CONNECTING for call in calls):
        (call,) = calls
        with pytest.raises(rpc.UnknownInterface) as caught:
            with connected(client, interface.interface, server.endpoint):
                raise AssertionError("it is connected")
        assert public_name(caught.value) == call.outcome.word
        assert call.gives in caught.value.message
        return
    with connected(client, interface.interface, server.endpoint) as acc:
        for call in [*calls, *calls]:  # no error damages the connection
            check(acc, call, server, interface)


@pytest.mark.parametrize("client", DRIVERS)
@pytest.mark.parametrize("name", ROWS)
def test_a_new_client_of_an_old_server(name: str, client: str, servers: dict[str, Server]) -> None:
    for change in ROWS[name].changes:
        check_all(client, change.new, servers["old"], change.new_client)


@pytest.mark.parametrize("client", DRIVERS)
@pytest.mark.parametrize("name", ROWS)
def test_an_old_client_of_a_new_server(name: str, client: str, servers: dict[str, Server]) -> None:
    for change in ROWS[name].changes:
        check_all(client, change.old, servers["new"], change.old_client)


# The document.

needs_the_document = pytest.mark.skipif(
    not DOCUMENT.exists(), reason="the documents are not beside the tests"
)
STAGES = "|".join((CONNECTING, NOT_SENT, NOT_RUN, HAS_RUN))
# What a part of a cell begins with. Parts are separated by semicolons.
PART = re.compile(rf"(?:({WORKS}|{SILENT})|`(\w+)` \(({STAGES})\))(?=$|[ :,])")


def documented() -> dict[str, tuple[list[Outcome], list[Outcome]]]:
    """The rows of the document: what it says for a new client, and for an old one."""
    found = {}
    text = DOCUMENT.read_text("utf-8")
    head = "| change | new client, old server | old client, new server | what to do |"
    for table in re.findall(rf"^{re.escape(head)}\n\|[-| ]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        for row in table.splitlines():
            name, new_client, old_client, to_do = row.strip("| ").split(" | ")
            assert name not in found
            assert to_do
            found[name] = (outcomes_in(new_client), outcomes_in(old_client))
    return found


def outcomes_in(cell: str) -> list[Outcome]:
    found = []
    for part in cell.split("; "):
        match = PART.match(part)
        assert match is not None, part
        word, error, stage = match.groups()
        found.append(Outcome(word) if word else Outcome(error, stage))
    return found


def outcomes_of(changes: list[Change], calls: str) -> list[Outcome]:
    """The different outcomes of these calls."""
    every = [call.outcome for change in changes for call in getattr(change, calls)]
    return list(dict.fromkeys(every))


@needs_the_document
def test_the_document_has_the_tested_changes() -> None:
    assert set(documented()) == set(ROWS)


@needs_the_document
@pytest.mark.parametrize("name", ROWS)
def test_the_document_says_what_each_change_leads_to(name: str) -> None:
    changes = ROWS[name].changes
    assert documented()[name] == (
        outcomes_of(changes, "new_client"),
        outcomes_of(changes, "old_client"),
    )
