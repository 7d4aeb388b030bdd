"""Fills and empties the streams of a client that have an argument, without an event loop."""

from __future__ import annotations

import inspect
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

from ..core.call_streams import decoded
from ..core.client import Feeds
from ..core.stream_call import StreamCall
from ..definition.streams import Stream
from ..errors import BadStubData, RpcError
from .call_driver import CallDriver
from .streams import LOOK

__all__ = ["StreamMover"]

logger = logging.getLogger("ipcpipes.rpc")


class StreamMover:
    """Moves the values of all streams that have an argument, in a thread that waits for the call.
    It can stop and continue later.
    """

    def __init__(self, driver: CallDriver, feeds: Feeds) -> None:
        self._driver = driver
        self._sources: list[_Source] = []
        self._sinks: list[_Sink] = []
        for stream, (given, _) in feeds.items():
            assert isinstance(stream, Stream)
            if stream.into:
                self._sources.append(_Source(driver, stream, given))
            else:
                self._sinks.append(_Sink(driver, stream, given))
        self._looked = time.monotonic()

    def run(self, until: float | None, stop: Callable[[], bool]) -> bool:
        """Moves values until the call has ended and all that has arrived is in its sink, or until
        ``stop`` returns true. Returns whether that was in time.

        Raises:
            What a source or a sink raises.
        """
        driver, link = self._driver, self._driver.link
        call = driver.call

        def can_go_on() -> bool | None:
            return (
                call.has_ended
                or stop()
                or any(one.can_send for one in self._sources)
                or any(one.has_news for one in self._sinks)
                or None
            )

        while not stop():
            self._sinks = [one for one in self._sinks if one.move()]
            if call.has_ended:
                if not self._sinks:
                    return True
                continue
            # A source may make few values, and slowly: each is sent before the next one is made.
            self._sources = [one for one in self._sources if self._goes_on(one)]
            link.flush(until=until, call=call)
            if time.monotonic() - self._looked > LOOK:
                link.look()
                self._looked = time.monotonic()
            if until is not None and time.monotonic() >= until:
                return False
            if not can_go_on() and link.wait(can_go_on, driver, until, sliced=True) is None:
                return False
        return True

    def _goes_on(self, source: _Source) -> bool:
        call = self._driver.call
        try:
            return source.move()
        except RpcError as error:
            if call.failure is not None and error.first is call.failure.first:
                return False  # the result raises it
            if isinstance(call, StreamCall) and call.is_stopped_by(error):
                return False
            raise

    def close(self) -> None:
        """Releases the resources of the sources, which do not run again."""
        for one in self._sources:
            one.close()


class _Source:
    """The values for a stream."""

    def __init__(self, driver: CallDriver, stream: Stream, given: Any) -> None:
        assert isinstance(driver.call, StreamCall)
        self._call = driver.call
        self._link = driver.link
        self._stream = stream
        # The next value of a collection does not take long, so that many are sent together.
        self._is_quick = isinstance(given, Collection)
        self._values: Iterator[Any] = iter(given)
        self._octets: bytes | None = None  # the next value
        self._is_lost = False
        self._error: BaseException | None = None

    @property
    def can_send(self) -> bool:
        outgoing = self._call.outgoing[self._stream.index]
        if self._octets is None or outgoing.stopped:
            return True
        return not self._link.is_full and outgoing.admits(len(self._octets))

    def move(self) -> bool:
        """Sends the next value if it is possible now. Returns whether the source goes on.

        Raises:
            BadStubData: an exception interrupted the last call, and a value is lost.
            RpcError: the call has failed.
            And what the source raises, again if this is called again.
        """
        if self._error is not None:
            raise self._error
        if self._is_lost:
            raise BadStubData(
                f"filling the stream {self._stream.name} was interrupted, and a value is lost"
            )
        try:
            while self.can_send:
                if self._octets is None and not self._make_next():
                    self._link.step(lambda: self._call.end_stream(self._stream.index))
                    return False
                self._link.step(self._send)
                if not self._is_quick or self._call.has_batch(self._stream.index):
                    break
        except RpcError:
            self.close()
            raise
        except Exception as error:
            self._error = error
            raise
        return True

    def _make_next(self) -> bool:
        """Encodes the next value. Returns ``False`` if there is none."""
        self._is_lost = True  # until the value is stored: a signal handler may raise before
        for value in self._values:
            self._octets = self._stream.encode(value)
            self._is_lost = False
            return True
        self._is_lost = False
        return False

    def _send(self) -> None:
        assert self._octets is not None
        if self._call.send(self._stream.index, self._octets):
            self._octets = None

    def close(self) -> None:
        """Closes a generator. One that runs in another thread, or in this one, cannot be closed."""
        values = self._values
        if inspect.isgenerator(values) and inspect.getgeneratorstate(values) != inspect.GEN_RUNNING:
            try:
                values.close()
            except Exception:
                logger.exception("closing the source of the stream %s failed", self._stream.name)


class _Sink:
    """The place for the values of a stream."""

    def __init__(self, driver: CallDriver, stream: Stream, given: Any) -> None:
        assert isinstance(driver.call, StreamCall)
        self._driver = driver
        self._call = driver.call
        self._stream = stream
        self._given = given
        self._is_torn = False

    @property
    def has_news(self) -> bool:
        return self._call.incoming[self._stream.index].has_news

    def move(self) -> bool:
        """Puts what has arrived into the sink. Returns whether more can come. A failure of the call
        is not raised here.

        Raises:
            BadStubData: an exception interrupted the last call, and values are lost or doubled.
            And what the sink raises.
        """
        call, link, index = self._call, self._driver.link, self._stream.index
        values = call.incoming[index].values
        while True:
            self._deliver(values)
            try:
                batch = link.step(partial(self._driver.batch_of, index))
            except RpcError:
                return False
            if batch is None:
                return True
            if not batch:
                return False
            link.do(partial(call.took, index, batch, *decoded(self._stream, batch)))

    def _deliver(self, values: deque[Any]) -> None:
        if self._is_torn:
            raise BadStubData(
                f"emptying the stream {self._stream.name} was interrupted, and values are lost or "
                "doubled"
            )
        self._is_torn = True  # until the sink has them: a signal handler may raise before
        if hasattr(self._given, "extend"):
            self._given.extend(values)
            values.clear()
        while values:
            self._given(values.popleft())
        self._is_torn = False
