"""Signals at random steps of the blocking operations of streams and channels, and what arrives."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import trio

from ipcpipes import NATIVE, ContentLength, LengthPrefixed, Lines, blocking
from ipcpipes.testing import unique_endpoint

from .interrupting import Interrupted, Interrupter

__all__ = ["ATTACKS", "NAME", "run"]

NAME = "message-interrupts"
_FRAMINGS = [LengthPrefixed(), LengthPrefixed(2, "big"), Lines(), Lines(b"--"), ContentLength()]
_HAS_DESCRIPTORS = sys.platform != "win32"
# Python 3.10 handles signals when a function has returned, and loses the result.
_IS_EXACT = sys.version_info >= (3, 11)
_PATTERN = bytes(range(251)) * 2100
_ROUND = 1.0  # seconds


def run(seconds: float, attacks: Iterable[str] = ()) -> str:
    """Runs all of :data:`ATTACKS`, or these."""
    chosen = [ATTACKS[name] for name in attacks or ATTACKS]
    until = time.monotonic() + seconds
    drawn = Random(0)
    figures = dict.fromkeys(("interrupts", "messages", "bytes", "broken"), 0)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        while time.monotonic() < until:
            for attack in chosen:
                with Interrupter(outside=drawn.random() < 0.5) as interrupter:
                    attack(interrupter, drawn, figures)
    finally:
        sys.setswitchinterval(before)
    return ", ".join(f"{count:,} {name}" for name, count in figures.items())


@contextmanager
def _pair(
    listen: Callable[..., Any], connect: Callable[..., Any], **options: Any
) -> Iterator[tuple[Any, Any]]:
    with (
        listen(unique_endpoint(), **options) as listener,
        connect(listener.endpoint, **options) as ours,
        listener.accept() as theirs,
    ):
        yield ours, theirs


class _Peer:
    """The peer, in a thread that works until it is stopped."""

    def __init__(self, end: Any, work: Callable[[], object]) -> None:
        self._end = end
        self._work = work
        self.is_stopped = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self.is_stopped:
                self._work()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            pass
        except BaseException as error:
            self.error = error
        finally:
            self._end.close()

    def join(self) -> None:
        self._thread.join()
        if self.error is not None:
            raise self.error


def _interrupted(
    interrupter: Interrupter, drawn: Random, figures: dict[str, int], operation: Callable[[], None]
) -> bool:
    """Runs the operation, which stores its result. Returns whether it was interrupted."""
    try:
        with interrupter.after(drawn.choice((0.0, 1e-5, 1e-4, 1e-3)) * drawn.random()):
            operation()
    except Interrupted:
        figures["interrupts"] += 1
        return True
    except TimeoutError:
        pass
    return False


def _receive_bytes(interrupter: Interrupter, drawn: Random, figures: dict[str, int]) -> None:
    size = drawn.choice((1, 100, 5_000, 300_000))
    with _pair(blocking.listen, blocking.connect) as (ours, theirs):
        sent = 0

        def send() -> None:
            nonlocal sent
            start = sent % 251
            theirs.send_all(_PATTERN[start : start + size])
            sent += size

        peer = _Peer(theirs, send)
        buffer = bytearray(size)
        data: bytes | None = None
        count = 0

        def receive_some() -> None:
            nonlocal data
            data = ours.receive_some(size, timeout=timeout)

        def receive_into() -> None:
            nonlocal count
            count = ours.receive_into(buffer, timeout=timeout)

        received = 0
        until = time.monotonic() + _ROUND
        try:
            while time.monotonic() < until:
                timeout = drawn.choice((None, 5.0))
                data, count = None, 0
                into = drawn.random() < 0.5
                was = _interrupted(
                    interrupter, drawn, figures, receive_into if into else receive_some
                )
                if into and (count or not was):
                    data = bytes(buffer[:count])
                if data is None:
                    continue
                start = received % 251
                assert data == _PATTERN[start : start + len(data)] or not _IS_EXACT, (
                    f"after {received:,} bytes, {len(data):,} wrong bytes arrived"
                )
                received += len(data)
        except trio.BrokenResourceError:
            figures["broken"] += 1
        finally:
            figures["bytes"] += received
            peer.is_stopped = True
            ours.close()
            peer.join()


def _send_bytes(interrupter: Interrupter, drawn: Random, figures: dict[str, int]) -> None:
    """Interrupted data arrived in full, or not at all, or nothing follows it."""
    size = drawn.choice((1, 100, 5_000, 300_000))
    with _pair(blocking.listen, blocking.connect) as (ours, theirs):
        received = bytearray()

        def receive() -> None:
            data = theirs.receive_some(timeout=30)
            if not data:
                raise trio.EndOfChannel
            received.extend(data)

        def send() -> None:
            ours.send_all(piece, timeout=timeout)

        peer = _Peer(theirs, receive)
        sent: list[tuple[int, bool]] = []
        until = time.monotonic() + _ROUND / 4
        number = 0
        is_broken = False
        try:
            while time.monotonic() < until:
                piece = number.to_bytes(4, "little") + _PATTERN[:size]
                timeout = drawn.choice((None, 5.0))
                was = True
                try:
                    was = _interrupted(interrupter, drawn, figures, send)
                finally:
                    sent.append((number, was))
                    number += 1
        except trio.BrokenResourceError:
            is_broken = True
            figures["broken"] += 1
        finally:
            ours.close()
            peer.join()
            figures["bytes"] += len(received)
        position = 0
        for number, was in sent:
            piece = number.to_bytes(4, "little") + _PATTERN[:size]
            if received.startswith(piece, position):
                position += len(piece)
            else:
                assert was, f"piece {number} was lost, but its send was not interrupted"
        rest = len(received) - position
        assert not rest or (is_broken and rest < 4 + size), f"{rest:,} bytes are a part of a piece"


def _message(number: int, size: int) -> bytes:
    # Text of digits, which Lines carries too.
    text = b"%d" % number
    return text + b"." * (number * 7919 % size) + text


def _options(drawn: Random) -> dict[str, Any]:
    framings: list[Any] = list(_FRAMINGS)
    if sys.platform in ("linux", "win32"):
        framings.append(NATIVE)
    options: dict[str, Any] = {"framing": drawn.choice(framings)}
    if drawn.random() < 0.3:
        options["max_descriptors"] = 2
    return options


def _receive_messages(interrupter: Interrupter, drawn: Random, figures: dict[str, int]) -> None:
    options = _options(drawn)
    largest = drawn.choice((1, 50, 3_000, 50_000))
    with _pair(blocking.listen_messages, blocking.connect_messages, **options) as (ours, theirs):
        sent = 0
        null = os.open(os.devnull, os.O_RDONLY)

        def send() -> None:
            nonlocal sent
            if _HAS_DESCRIPTORS and "max_descriptors" in options and sent % 3 == 0:
                theirs.send_descriptors(_message(sent, largest), [null])
                sent += 1
                return
            theirs.send_many([_message(sent + more, largest) for more in range(4)])
            sent += 4

        peer = _Peer(theirs, send)
        got: Any = None

        def receive() -> None:
            nonlocal got
            got = ours.receive(timeout=timeout)

        def receive_many() -> None:
            nonlocal got
            got = ours.receive_many(timeout=timeout)

        def receive_descriptors() -> None:
            nonlocal got
            got = ours.receive_descriptors(timeout=timeout)

        memory = bytearray(largest + 100)

        def receive_into() -> None:
            nonlocal got
            got = ours.receive_into(memory, timeout=timeout)

        ways = [receive, receive_many, receive_into]
        if "max_descriptors" in options:
            ways.append(receive_descriptors)
        expected = 0
        until = time.monotonic() + _ROUND
        try:
            while time.monotonic() < until:
                timeout = drawn.choice((None, 5.0))
                got = None
                _interrupted(interrupter, drawn, figures, drawn.choice(ways))
                messages: list[bytes] = got if isinstance(got, list) else []
                if isinstance(got, bytes):
                    messages = [got]
                elif isinstance(got, int):
                    messages = [bytes(memory[:got])]
                elif isinstance(got, tuple):
                    messages = [got[0]]
                    for number in got[1]:
                        os.close(number)
                for message in messages:
                    number = int(message.partition(b".")[0][: len(message)] or b"-1")
                    if largest == 1 or b"." not in message:
                        number = int(message[: len(message) // 2])
                    assert message == _message(number, largest), f"a torn message: {message[:80]!r}"
                    assert number >= expected, f"message {number} arrived twice"
                    assert number == expected or not _IS_EXACT, (
                        f"message {number} arrived where {expected} was expected: {options}"
                    )
                    expected = number + 1
        except trio.BrokenResourceError as error:
            if "interrupted" not in str(error):
                raise AssertionError(f"{options}: {error}") from error
            figures["broken"] += 1
        finally:
            figures["messages"] += expected
            peer.is_stopped = True
            ours.close()
            peer.join()
            os.close(null)


def _send_messages(interrupter: Interrupter, drawn: Random, figures: dict[str, int]) -> None:
    options = _options(drawn)
    largest = drawn.choice((1, 50, 3_000, 200_000))
    if options["framing"] == _FRAMINGS[1]:
        largest = min(largest, 50_000)
    with _pair(blocking.listen_messages, blocking.connect_messages, **options) as (ours, theirs):
        received: list[bytes] = []
        peer = _Peer(theirs, lambda: received.extend(theirs.receive_many(timeout=30)))
        null = os.open(os.devnull, os.O_RDONLY)
        sent: list[tuple[int, bool]] = []
        until = time.monotonic() + _ROUND / 4
        next_number = 0

        def send() -> None:
            ours.send(messages[0], timeout=timeout)

        def send_many() -> None:
            ours.send_many(messages, timeout=timeout)

        def send_descriptors() -> None:
            ours.send_descriptors(messages[0], [null], timeout=timeout)

        ways = [send, send_many]
        if _HAS_DESCRIPTORS and "max_descriptors" in options:
            ways.append(send_descriptors)
        try:
            while time.monotonic() < until:
                way = drawn.choice(ways)
                numbers = range(next_number, next_number + (3 if way is send_many else 1))
                next_number = numbers.stop
                messages = [_message(number, largest) for number in numbers]
                timeout = drawn.choice((None, 5.0))
                was = True
                try:
                    was = _interrupted(interrupter, drawn, figures, way)
                finally:
                    sent += [(number, was) for number in numbers]
        except trio.BrokenResourceError:
            figures["broken"] += 1
        finally:
            ours.close()
            peer.join()
            os.close(null)
        figures["messages"] += len(received)
        arrived = iter(received)
        message = next(arrived, None)
        for number, was in sent:
            if message == _message(number, largest):
                message = next(arrived, None)
            else:
                assert was, f"message {number} was lost, but not interrupted: {options}"
        assert message is None, f"a torn or unknown message: {message[:80]!r}, {options}"


ATTACKS: dict[str, Callable[[Interrupter, Random, dict[str, int]], None]] = {
    "receive-bytes": _receive_bytes,
    "send-bytes": _send_bytes,
    "receive-messages": _receive_messages,
    "send-messages": _send_messages,
}
