"""Errors: fitting built-in classes, and one readable line."""

from __future__ import annotations

import errno
import pickle

import pytest

import ipcpipes
from ipcpipes import Endpoint
from ipcpipes.errors import connect_error, in_use_error

WHERE = Endpoint.named("svc")


@pytest.mark.parametrize(
    ("system", "code", "kind", "builtin"),
    [
        ("errno", errno.ENOENT, ipcpipes.EndpointNotFound, FileNotFoundError),
        ("errno", errno.ECONNREFUSED, ipcpipes.EndpointRefused, ConnectionRefusedError),
        ("errno", errno.EAGAIN, ipcpipes.EndpointBusy, ConnectionRefusedError),
        ("errno", errno.EACCES, ipcpipes.EndpointDenied, PermissionError),
        ("errno", errno.EMFILE, ipcpipes.EndpointError, OSError),
        ("winerror", 2, ipcpipes.EndpointNotFound, FileNotFoundError),
        ("winerror", 5, ipcpipes.EndpointDenied, PermissionError),
        ("winerror", 230, ipcpipes.NotAnEndpoint, FileExistsError),
        ("winerror", 231, ipcpipes.EndpointBusy, ConnectionRefusedError),
        ("winerror", 1234, ipcpipes.EndpointError, OSError),
    ],
)
def test_system_codes_map_to_errors(
    system: str, code: int, kind: type[Exception], builtin: type[Exception]
) -> None:
    error = connect_error(system, code, WHERE, "/run/svc.sock")
    assert type(error) is kind
    assert isinstance(error, builtin)
    assert isinstance(error, ipcpipes.EndpointError)
    assert isinstance(error, ipcpipes.IpcError)
    assert error.system_code == code
    assert error.errno == (code if system == "errno" else type(error).default_errno)
    line = str(error)
    assert line.startswith("named endpoint 'svc' (at /run/svc.sock): ")
    assert "\n" not in line
    assert len(line) > 50 or kind is ipcpipes.EndpointError


def test_in_use_error_names_known_holder() -> None:
    assert "in use by process 77;" in str(in_use_error(WHERE, "/a", 77))
    assert "in use by another listener;" in str(in_use_error(WHERE, "/a", None))


def test_errors_can_be_pickled() -> None:
    error = in_use_error(WHERE, "/a", 77)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.errno, copy.endpoint, copy.holder_pid) == (
        str(error),
        error.errno,
        WHERE,
        77,
    )
    other = pickle.loads(pickle.dumps(ipcpipes.NotSupported("no such thing")))
    assert str(other) == "no such thing"
