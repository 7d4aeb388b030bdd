"""Traces and metrics of remote calls, over both drivers, with the SDK of OpenTelemetry."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from ipcpipes import rpc
from ipcpipes.rpc import opentelemetry as ours

from .rpc_drivers import Driver
from .rpc_over_managers import drained

FUNCTIONS = [getattr(ours, name) for name in ours.__all__]


@pytest.mark.parametrize("function", FUNCTIONS, ids=ours.__all__)
def test_without_the_package_the_error_says_what_to_install(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"pip install \"ipcpipes\[opentelemetry\]\""):
        function()


class Recorded:
    """The spans and metrics of a test, and its client."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer("test")
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])
        self.acc: Any = None

    def span(self, kind: SpanKind) -> Any:
        (found,) = [one for one in self.exporter.get_finished_spans() if one.kind is kind]
        return found

    def points(self) -> dict[str, list[dict[str, Any]]]:
        """The attributes of the points of each metric."""
        found: dict[str, list[dict[str, Any]]] = {}
        data: Any = self.reader.get_metrics_data()
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    assert metric.unit == "s"
                    for point in metric.data.data_points:
                        assert point.count == 1
                        assert 0 < point.sum < 60
                        assert point.explicit_bounds[:2] == (0.005, 0.01)
                        found.setdefault(metric.name, []).append(dict(point.attributes))
        return found


async def look_around(call: Any, proceed: Any) -> Any:
    """An interceptor: the ones inside it leave no context behind."""
    before = context.get_current()
    try:
        return await proceed(call)
    finally:
        assert context.get_current() == before


@asynccontextmanager
async def traced(
    driver: Driver, *, at_client: bool = True, **scripts: Any
) -> AsyncIterator[Recorded]:
    recorded = Recorded()
    prefix = "blocking_" if driver.serves_in_threads else ""
    options = {
        "tracer_provider": recorded.tracers,
        "meter_provider": recorded.meters,
        "server_address": "svc",
    }
    client, server = (
        {
            "interceptors": [
                *driver.interceptors(look_around),
                getattr(ours, f"{prefix}{end}_interceptor")(**options),
            ]
        }
        for end in ("client", "server")
    )
    async with driver.calling(client=client if at_client else {}, server=server, **scripts) as acc:
        recorded.acc = acc
        yield recorded


COMMON = {
    "rpc.system.name": "ipcpipes",
    "rpc.method": "Calls/plain",
    "server.address": "svc",
}


async def test_a_call_is_a_span_at_each_end(driver: Driver) -> None:
    async def plain(value: Any) -> Any:
        assert trace.get_current_span().is_recording()
        with recorded.tracer.start_as_current_span("manager"):
            return sorted(rpc.current_call().metadata)

    async with traced(driver, plain=plain) as recorded:
        with recorded.tracer.start_as_current_span("caller"):
            assert await recorded.acc.plain(1) == ["traceparent"]
    spans: dict[str, Any] = {span.name: span for span in recorded.exporter.get_finished_spans()}
    client, server = recorded.span(SpanKind.CLIENT), recorded.span(SpanKind.SERVER)
    assert client.name == server.name == "Calls/plain"
    assert server.parent.span_id == client.context.span_id
    assert server.parent.is_remote
    assert client.parent.span_id == spans["caller"].context.span_id
    assert spans["manager"].parent.span_id == server.context.span_id
    assert len({span.context.trace_id for span in recorded.exporter.get_finished_spans()}) == 1
    for span in (client, server):
        assert dict(span.attributes) == COMMON
        assert span.status.status_code is StatusCode.UNSET
        assert span.instrumentation_scope.name == "ipcpipes.rpc"
        assert not span.events
    assert recorded.points() == {
        "rpc.client.call.duration": [COMMON],
        "rpc.server.call.duration": [COMMON],
    }


@pytest.mark.parametrize(
    ("error", "kind", "code", "server_kind"),
    [
        (KeyError("no"), "KeyError", "1726", "KeyError"),
        (rpc.Fault("no", code=5), "ipcpipes.rpc.errors.Fault", "5", "ipcpipes.rpc.errors.Fault"),
    ],
    ids=["exception", "fault"],
)
async def test_a_failure_is_recorded_at_each_end(
    driver: Driver, error: Exception, kind: str, code: str, server_kind: str
) -> None:
    async def plain(_: Any) -> None:
        raise error

    async with traced(driver, plain=plain) as recorded:
        with pytest.raises(rpc.Fault, match="no"):
            await recorded.acc.plain(1)
    for span_kind, expected in ((SpanKind.CLIENT, kind), (SpanKind.SERVER, server_kind)):
        span = recorded.span(span_kind)
        failed = {"error.type": expected, "rpc.response.status_code": code}
        assert dict(span.attributes) == {**COMMON, **failed}
        assert span.status.status_code is StatusCode.ERROR
        assert "no" in span.status.description
        (event,) = span.events
        assert event.name == "exception"
        name = f"rpc.{span_kind.name.lower()}.call.duration"
        assert recorded.points()[name] == [{**COMMON, **failed}]


async def test_without_a_context_of_the_client_a_trace_begins(driver: Driver) -> None:
    outer = Recorded()
    with outer.tracer.start_as_current_span("around the server"):
        async with traced(driver, at_client=False, plain=given) as recorded:
            await recorded.acc.plain(1)
            metadata = {"traceparent": 7, "tracestate": b"x"}
            await recorded.acc.plain.with_options(metadata=metadata)(1)
    spans = recorded.exporter.get_finished_spans()
    assert [span.kind for span in spans] == [SpanKind.SERVER] * 2
    assert [span.parent for span in spans] == [None] * 2


async def given(value: Any) -> Any:
    return value


async def test_calls_with_pipes_are_traced(driver: Driver) -> None:
    async def into(numbers: Any) -> int:
        return sum(await drained(numbers))

    async with traced(driver, into=into) as recorded:
        assert await recorded.acc.into([1, 2]) == 3
    assert (
        recorded.span(SpanKind.CLIENT).name == recorded.span(SpanKind.SERVER).name == "Calls/into"
    )


async def test_baggage_reaches_the_manager(driver: Driver) -> None:
    async def plain(_: Any) -> Any:
        return baggage.get_baggage("user")

    async with traced(driver, plain=plain) as recorded:
        token = context.attach(baggage.set_baggage("user", "ann"))
        try:
            assert await recorded.acc.plain(1) == "ann"
        finally:
            context.detach(token)


async def test_baggage_that_is_too_large_does_not_fail_the_call(driver: Driver) -> None:
    async def plain(_: Any) -> Any:
        return sorted(rpc.current_call().metadata)

    async with traced(driver, plain=plain) as recorded:
        with_much = context.get_current()
        for number in range(60):
            with_much = baggage.set_baggage(f"key-{number}", "x" * 130, context=with_much)
        token = context.attach(with_much)
        try:
            metadata = {"large": "x" * 4000}
            assert await recorded.acc.plain.with_options(metadata=metadata)(1) == [
                "large",
                "traceparent",
            ]
        finally:
            context.detach(token)


async def test_the_caller_keeps_its_own_context(driver: Driver) -> None:
    async with traced(driver, plain=given) as recorded:
        with recorded.tracer.start_as_current_span("caller") as span:
            await recorded.acc.plain(1)
            assert trace.get_current_span() is span
            await recorded.acc.plain(2)
    clients = [one for one in recorded.exporter.get_finished_spans() if one.kind is SpanKind.CLIENT]
    assert [one.parent.span_id for one in clients if one.parent] == [
        span.get_span_context().span_id
    ] * 2


async def test_a_server_under_trio_keeps_the_contexts_of_calls_apart(driver: Driver) -> None:
    if driver.serves_in_threads:
        pytest.skip("each thread has a context of its own")
    both = trio.Event()
    came: list[Any] = []

    async def plain(value: Any) -> None:
        came.append(value)
        if len(came) == 2:
            both.set()
        await both.wait()
        with recorded.tracer.start_as_current_span(f"manager {value}"):
            await trio.sleep(0.001)

    async def call(value: Any) -> None:
        with recorded.tracer.start_as_current_span(f"caller {value}"):
            await recorded.acc.plain(value)

    async with traced(driver, plain=plain) as recorded:
        async with trio.open_nursery() as nursery:
            for value in (1, 2):
                nursery.start_soon(call, value)
    traces = {one.name: one.context.trace_id for one in recorded.exporter.get_finished_spans()}
    for value in (1, 2):
        assert traces[f"caller {value}"] == traces[f"manager {value}"]
    assert traces["caller 1"] != traces["caller 2"]


async def test_a_cancelled_call_is_recorded(driver: Driver) -> None:
    if driver.serves_in_threads:
        pytest.skip("a thread cannot be cancelled")

    async def plain(_: Any) -> None:
        await trio.sleep_forever()

    async with traced(driver, plain=plain) as recorded:
        with trio.move_on_after(0.05):
            await recorded.acc.plain(1)
        while len(recorded.exporter.get_finished_spans()) < 2:
            await trio.sleep(0.001)
    for kind in (SpanKind.CLIENT, SpanKind.SERVER):
        span = recorded.span(kind)
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["rpc.response.status_code"] == "1818"
        assert span.attributes["error.type"] == "trio.Cancelled"
