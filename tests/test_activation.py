"""Endpoint.activated: the sockets that systemd passes, by their names."""

from __future__ import annotations

import os

import pytest

from ipcpipes import Endpoint, InvalidEndpoint

CURE = "and Endpoint.inherited takes them by their numbers, from 3"
NAMING = "FileDescriptorName= in the socket unit sets the name"


@pytest.fixture(autouse=True)
def _no_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.delenv(name, raising=False)


def passed(
    monkeypatch: pytest.MonkeyPatch, count: str, names: str | None = None, pid: object = None
) -> None:
    monkeypatch.setenv("LISTEN_PID", str(pid or os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    if names is not None:
        monkeypatch.setenv("LISTEN_FDNAMES", names)


def test_nothing_was_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Endpoint.activated() is None
    assert Endpoint.activated("svc") is None
    # The variables are those of the parent.
    passed(monkeypatch, "1", "svc", pid=os.getpid() + 1)
    assert Endpoint.activated("svc") is None


@pytest.mark.parametrize(
    ("count", "names", "name", "number"),
    [
        ("1", None, None, 3),
        ("1", "svc", None, 3),
        ("1", "svc", "svc", 3),
        ("3", "a:svc:b", "svc", 4),
        ("3", "a:svc:b", "b", 5),
        ("2", "a:", "unknown", 4),
        ("2", "a", "unknown", 4),
        ("1", None, "unknown", 3),
        ("1", "a:b:c", "a", 3),
    ],
)
def test_the_socket_of_this_name(
    count: str,
    names: str | None,
    name: str | None,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed(monkeypatch, count, names)
    assert Endpoint.activated(name) == Endpoint.inherited(number)


@pytest.mark.parametrize(
    ("count", "names", "name", "text"),
    [
        (
            "2",
            "a:b",
            None,
            f"2 sockets, and not 1 (all: a, b); give the name of one of them, {CURE}",
        ),
        ("2", "a:a", "a", f"2 sockets called 'a', and not 1 (all: a, a); {NAMING}, {CURE}"),
        ("1", "a:b", "b", f"0 sockets called 'b', and not 1 (all: a); {NAMING}, {CURE}"),
        ("", None, None, "LISTEN_FDS='' is not the number of the passed sockets"),
        ("-1", None, None, "LISTEN_FDS='-1' is not the number of the passed sockets"),
        ("\u0663", None, None, "LISTEN_FDS='\u0663' is not the number of the passed sockets"),
    ],
)
def test_mistakes_in_the_units(
    count: str, names: str | None, name: str | None, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed(monkeypatch, count, names)
    with pytest.raises(InvalidEndpoint) as caught:
        Endpoint.activated(name)
    assert str(caught.value).removeprefix("systemd has passed ") == text
