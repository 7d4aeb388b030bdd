"""Fixtures for every test: a private runtime directory, and a check that nothing is left behind."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ipcpipes
from ipcpipes.testing import unique_endpoint

from .rpc_drivers import DRIVERS, Driver

WINDOWS = sys.platform == "win32"


# Set by the Wine test bed. Wine differs from Windows in a few points; each test that meets one
# names it, and test_windows.py reads back the settings instead.
WINE = "IPCPIPES_WINE" in os.environ

if sys.platform == "win32" and WINE:
    import _winapi

    _create_process = _winapi.CreateProcess
    _ERROR_INTERNAL_ERROR = 1359

    def _create_process_again(*arguments: Any) -> Any:
        """Once in some thousand times a new process dies before its program begins, and Wine
        reports a code that Windows does not use there. It is a fault of Wine, so try again.
        """
        for _ in range(3):
            try:
                return _create_process(*arguments)
            except OSError as error:
                if error.winerror != _ERROR_INTERNAL_ERROR:
                    raise
        return _create_process(*arguments)

    _winapi.CreateProcess = _create_process_again


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("wine_differs"):
            item.add_marker(pytest.mark.skipif(WINE, reason=f"Wine: {mark.args[0]}"))


def pytest_collection_finish() -> None:
    # The objects that exist now live until the end. Collecting them before and after each test
    # would take longer than most tests.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def runtime_directory() -> Iterator[Path]:
    """The directory of plain names in this run. Not tmp_path: the path of a socket is limited."""
    directory = Path(tempfile.mkdtemp(prefix="ipcp"))
    os.environ["XDG_RUNTIME_DIR"] = str(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def endpoint() -> ipcpipes.Endpoint:
    return unique_endpoint()


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    """Calls over each RPC driver; see rpc_drivers.py."""
    return DRIVERS[request.param]


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A private directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ipc") as name:
        yield Path(name)


@pytest.fixture
def sticky(short_tmp: Path) -> Path:
    """A directory like /tmp: every user can write in it, and remove only files of its own."""
    short_tmp.chmod(0o711)
    directory = short_tmp / "t"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


def open_descriptors() -> set[str]:
    """The open descriptors and what each refers to; empty where the system does not list them."""
    found: set[str] = set()
    if WINDOWS:
        # Wine shows the /proc/self/fd of its own server; reading it disturbs the server.
        return found
    for entry in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").is_dir() else ():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except OSError:
            continue  # the descriptor of the listing itself
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, runtime_directory: Path) -> Iterator[None]:
    """No descriptor, file or thread of ours outlives a test."""
    gc.collect()
    descriptors = open_descriptors()
    yield
    gc.collect()
    left = open_descriptors() - descriptors
    assert not left, f"descriptors left open: {left}"
    files = [path for path in runtime_directory.rglob("*") if not path.is_dir()]
    for path in files:
        path.unlink()  # so that only this test fails
    assert not files, f"files left behind: {files}"
    threads = [t.name for t in threading.enumerate() if not t.daemon and t.name != "MainThread"]
    assert not threads, f"threads left running: {threads}"
