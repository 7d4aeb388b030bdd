"""Kills a client or a server (kill -9) in the middle of streams; the other end must see it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import trio

import ipcpipes
from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .kill_service import DRIVERS, Manager, ManagerInThreads, talk, talk_under_trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["NAME", "run"]

NAME = "rpc-kills"
LONGEST = 20.0  # seconds that anything may take after a kill


def run(seconds: float) -> str:
    until = time.monotonic() + seconds
    draw = Random()
    seed = draw.randrange(2**32)
    draw.seed(seed)
    rounds = 0
    descriptors = None
    try:
        while time.monotonic() < until or rounds < 8:
            victim = (_kill_server, _kill_client)[rounds % 2]
            victim(draw, draw.choice(DRIVERS), draw.choice(DRIVERS))
            rounds += 1
            if rounds == 8:
                descriptors = _descriptors()
        assert _descriptors() == descriptors, f"{descriptors} descriptors became {_descriptors()}"
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, round {rounds}: {error}") from None
    return f"{rounds:,} kills, each seen by the other end; {descriptors} descriptors are open"


def _descriptors() -> int | None:
    """How many descriptors are open, where the system tells."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None


@contextmanager
def _child(
    role: str, driver: str, endpoint: ipcpipes.Endpoint
) -> Iterator[subprocess.Popen[bytes]]:
    command = (sys.executable, "-m", "campaigns.kill_service", role, driver, endpoint.name)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def _kill_server(draw: Random, here: str, there: str) -> None:
    endpoint = unique_endpoint()
    with _child("server", there, endpoint) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"listening"
        timer = threading.Timer(draw.uniform(0, 0.3), process.kill)
        timer.start()
        killed = None
        try:
            if here == "trio":
                trio.run(talk_under_trio, endpoint)
            else:
                talk(endpoint)
        except (rpc.RpcError, ConnectionError, BaseExceptionGroup) as error:
            killed = error
        finally:
            timer.join()
    assert killed is not None
    assert _is_of_connection(killed), f"{here} client: {killed!r}"


def _is_of_connection(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_of_connection, error.exceptions))
    return isinstance(error, (ConnectionError, trio.Cancelled))


def _kill_client(draw: Random, here: str, there: str) -> None:
    endpoint = unique_endpoint()
    manager: Any = Manager() if here == "trio" else ManagerInThreads()
    with _serving(here, manager, endpoint), _child("client", there, endpoint) as process:
        _until(lambda: manager.counting.begun, f"the {there} client calls")
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        _until(lambda: not manager.counting.running, f"no manager of the {here} server runs")


def _until(condition: Any, what: str) -> None:
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, f"this did not come true: {what}"
        time.sleep(0.005)


@contextmanager
def _serving(driver: str, manager: Any, endpoint: ipcpipes.Endpoint) -> Iterator[None]:
    if driver == "blocking":
        with streams.listen(endpoint) as listener:
            thread = threading.Thread(target=blocking.serve, args=(manager, listener))
            thread.start()
            yield
        thread.join(LONGEST)
        assert not thread.is_alive(), "the blocking server goes on"
        return
    scope = trio.CancelScope()
    tokens: list[trio.lowlevel.TrioToken] = []
    listening = threading.Event()

    async def serve() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        with scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(rpc.serve, manager, endpoint)
                listening.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert listening.wait(LONGEST)
        yield
    finally:
        tokens[0].run_sync_soon(scope.cancel)
        thread.join(LONGEST)
        assert not thread.is_alive(), "the trio server goes on"
