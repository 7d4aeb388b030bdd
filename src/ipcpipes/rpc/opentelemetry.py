"""Traces and metrics of remote calls for OpenTelemetry, as interceptors of both ends.

>>> tracing = ipcpipes.rpc.opentelemetry
>>> await rpc.serve(manager, "svc", interceptors=[tracing.server_interceptor()])
>>> async with rpc.connect(Interface, "svc", interceptors=[tracing.client_interceptor()]) as client:
...     await client.operation()

It needs the package ``opentelemetry-api``: ``pip install "ipcpipes[opentelemetry]"``. The program
configures the SDK. The module can be imported without that package; the functions need it.

The names of spans, metrics and attributes are those of the semantic conventions for RPC, version
1.45.0.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .core.intercepting import ClientCall, ServerCall
from .errors import CallCancelled, Fault, RpcError

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = [
    "blocking_client_interceptor",
    "blocking_server_interceptor",
    "client_interceptor",
    "server_interceptor",
]

logger = logging.getLogger("ipcpipes.rpc")

_SCHEMA = "https://opentelemetry.io/schemas/1.45.0"
# The conventions advise these boundaries of the histogram, in seconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


def client_interceptor(
    *,
    server_address: str | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Callable[[ClientCall, Callable[[ClientCall], Awaitable[Any]]], Awaitable[Any]]:
    """Returns an interceptor for :func:`connect` and :func:`bind`.

    It makes a span of the kind ``CLIENT`` for each call, and records the time of the call in the
    metric ``rpc.client.call.duration``. The trace context is sent as metadata of the call
    (``traceparent``, ``tracestate``; what the propagators of the program choose). A failed call has
    the status ``ERROR``, the exception, and the attributes ``error.type`` and
    ``rpc.response.status_code``.

    Beside an interceptor that repeats calls, the order decides: the outer one makes one span for
    all attempts, the inner one a span for each.

    Args:
        server_address: the attribute ``server.address``, such as the name of the endpoint; ``None``
            for no attribute.
        tracer_provider, meter_provider: ``None`` for those of the program.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
    """
    recorder = _Recorder("client", server_address, tracer_provider, meter_provider)

    async def trace(call: ClientCall, proceed: Callable[[ClientCall], Awaitable[Any]]) -> Any:
        with recorder.recording_client(call):
            return await proceed(call)

    return trace


def server_interceptor(
    *,
    server_address: str | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Callable[[ServerCall, Callable[[ServerCall], Awaitable[Any]]], Awaitable[Any]]:
    """Returns an interceptor for :func:`serve` and :func:`serve_connection`.

    It makes a span of the kind ``SERVER`` for each call, as the child of the client's span if the
    client has sent its trace context, and records the time of the call in the metric
    ``rpc.server.call.duration``. While the manager runs, the span is the current one. If the
    manager answers later, the span ends when its method returns.

    A client can choose its trace context freely; it may make the server record more spans than
    your sampling rate allows. If you do not trust your clients, choose a sampler that does not
    follow the parent.

    Args:
        server_address: the attribute ``server.address``, such as the name of the endpoint; ``None``
            for no attribute.
        tracer_provider, meter_provider: ``None`` for those of the program.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
    """
    recorder = _Recorder("server", server_address, tracer_provider, meter_provider)

    async def trace(call: ServerCall, proceed: Callable[[ServerCall], Awaitable[Any]]) -> Any:
        with recorder.recording_server(call):
            return await proceed(call)

    return trace


def blocking_client_interceptor(
    *,
    server_address: str | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Callable[[ClientCall, Callable[[ClientCall], Any]], Any]:
    """Returns an interceptor for ``connect`` and ``bind`` of :mod:`ipcpipes.rpc.blocking`. It does
    the same as that of :func:`client_interceptor`.

    Args:
        server_address: the attribute ``server.address``, such as the name of the endpoint; ``None``
            for no attribute.
        tracer_provider, meter_provider: ``None`` for those of the program.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
    """
    recorder = _Recorder("client", server_address, tracer_provider, meter_provider)

    def trace(call: ClientCall, proceed: Callable[[ClientCall], Any]) -> Any:
        with recorder.recording_client(call):
            return proceed(call)

    return trace


def blocking_server_interceptor(
    *,
    server_address: str | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Callable[[ServerCall, Callable[[ServerCall], Any]], Any]:
    """Returns an interceptor for ``serve`` and ``serve_connection`` of
    :mod:`ipcpipes.rpc.blocking`. It does the same as that of :func:`server_interceptor`.

    Args:
        server_address: the attribute ``server.address``, such as the name of the endpoint; ``None``
            for no attribute.
        tracer_provider, meter_provider: ``None`` for those of the program.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
    """
    recorder = _Recorder("server", server_address, tracer_provider, meter_provider)

    def trace(call: ServerCall, proceed: Callable[[ServerCall], Any]) -> Any:
        with recorder.recording_server(call):
            return proceed(call)

    return trace


class _Recorder:
    """Records the calls of one end.

    Args:
        end: ``"client"`` or ``"server"``.
    """

    def __init__(
        self,
        end: str,
        server_address: str | None,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        try:
            from opentelemetry import context, metrics, propagate, trace
        except ImportError as error:
            raise ImportError(
                'opentelemetry-api is not installed; pip install "ipcpipes[opentelemetry]"'
            ) from error
        self._context = context
        self._propagate = propagate
        self._trace = trace
        self._kind = trace.SpanKind[end.upper()]
        self._common = {"rpc.system.name": "ipcpipes"}
        if server_address is not None:
            self._common["server.address"] = server_address
        self._tracer = trace.get_tracer(
            "ipcpipes.rpc", tracer_provider=tracer_provider, schema_url=_SCHEMA
        )
        meter = metrics.get_meter("ipcpipes.rpc", meter_provider=meter_provider, schema_url=_SCHEMA)
        self._duration = meter.create_histogram(
            f"rpc.{end}.call.duration",
            unit="s",
            description=f"The time of a remote call, at the {end}",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    @contextmanager
    def recording_client(self, call: ClientCall) -> Iterator[None]:
        with self._recording(call):
            carrier: dict[str, str] = {}
            self._propagate.inject(carrier)
            for key, value in carrier.items():
                try:
                    call.metadata[key.lower()] = value
                except (TypeError, ValueError) as error:  # a trace must not fail the call
                    logger.debug("the trace context of %r is not complete: %s", call, error)
            yield

    @contextmanager
    def recording_server(self, call: ServerCall) -> Iterator[None]:
        carrier = {key: value for key, value in call.metadata.items() if isinstance(value, str)}
        # Whatever was current when the server began is not the parent of its calls.
        empty = self._context.Context()
        token = self._context.attach(self._propagate.extract(carrier, context=empty))
        try:
            with self._recording(call):
                yield
        finally:
            self._context.detach(token)

    @contextmanager
    def _recording(self, call: ClientCall | ServerCall) -> Iterator[None]:
        """Records a span and the duration of what runs in the block."""
        method = f"{call.interface}/{call.operation}"
        attributes = {**self._common, "rpc.method": method}
        began = time.perf_counter()
        with self._tracer.start_as_current_span(
            method,
            kind=self._kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                failed = _attributes_of(error)
                self._mark(span, error, failed)
                attributes |= failed
                raise
            finally:
                self._duration.record(time.perf_counter() - began, attributes)

    def _mark(self, span: Span, error: BaseException, attributes: dict[str, str]) -> None:
        span.set_attributes(attributes)
        if isinstance(error, Exception):
            span.record_exception(error)
        text = str(error) or attributes["error.type"]
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, text))


def _attributes_of(error: BaseException) -> dict[str, str]:
    """Returns the attributes of a call that has failed.

    A manager's exception that is not a fault reaches the client as one, with the code of
    :class:`Fault`. An exception that is not an ``Exception`` is a cancellation, or ends the
    program.
    """
    code, kind = Fault.default_code, None
    if isinstance(error, RpcError):
        code, kind = error.code, error.type
    elif not isinstance(error, Exception):
        code = CallCancelled.default_code
    if kind is None:
        name, module = type(error).__qualname__, type(error).__module__
        kind = name if module == "builtins" else f"{module}.{name}"
    return {"error.type": kind, "rpc.response.status_code": str(code)}
