"""Traces for OpenTelemetry: one trace for all that follows from one cause, put together from what several agents send.

The trace's id is made from the cause, which all agents know, so that none has to hand it to another. Causes that a rule
takes again and again (a drain of a node, say) have one trace a day. Spans are sent from a thread of their own, a batch
at a time; what a collector does not take is dropped, and nobody waits for it.

The only module that imports OpenTelemetry, which comes with the extra ``otel``.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from vmha import __version__
from vmha.model.clock import Clock

log = structlog.get_logger(__name__)

SEND_TIMEOUT_S = 5.0
CLOSE_S = 0.5
TELL_AGAIN_S = 300.0
_AGAIN_AND_AGAIN = ("drain-", "failback-", "rebalance-", "service-", "room-for-")

_spanned: ContextVar[str] = ContextVar("vmha_spanned_cause", default="")


def trace_id(cluster: str, cause: str, day: str) -> int:
    """Sixteen bytes. ``day``: counts only for causes that have no number of their own."""
    of = f"{cluster}/{cause}/{day if cause.startswith(_AGAIN_AND_AGAIN) else ''}"
    return int.from_bytes(hashlib.sha256(of.encode()).digest()[:16], "big")


class _IdOfTheCause(RandomIdGenerator):
    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read

    def generate_trace_id(self) -> int:
        return self._read()

    def is_trace_id_random(self) -> bool:
        return False


class OtelTracer:
    """A ``Tracer`` (tracing/operation.py)."""

    def __init__(self, processor: SpanProcessor, *, cluster: str, node: str, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        about = {"service.name": "vmha-agent", "service.version": __version__, "service.instance.id": node}
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource({**about, "vmha.cluster": cluster}),
            id_generator=_IdOfTheCause(self._id_now),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("vmha", __version__)

    @contextmanager
    def span(self, name: str, cause: str, about: dict[str, str]) -> Iterator[None]:
        above = None if _spanned.get() == cause else Context()  # what is about another cause begins at the top
        token = _spanned.set(cause)
        try:
            with self._tracer.start_as_current_span(name, context=above, attributes=_attributes(cause, about)):
                yield
        finally:
            _spanned.reset(token)

    def past(self, name: str, cause: str, about: dict[str, str], ago_s: float) -> None:
        token = _spanned.set(cause)
        try:
            began = round((self._clock.wall() - ago_s) * 1e9)
            span = self._tracer.start_span(
                name, context=Context(), attributes=_attributes(cause, about), start_time=began
            )
            span.end(round(self._clock.wall() * 1e9))
        finally:
            _spanned.reset(token)

    def close(self) -> None:
        """Sends what is left, if that is quick: the guard counts on while an agent restarts."""
        sending = threading.Thread(target=self._provider.shutdown, name="traces: the last ones", daemon=True)
        sending.start()
        sending.join(CLOSE_S)

    def _id_now(self) -> int:
        day = datetime.fromtimestamp(self._clock.wall(), UTC).date().isoformat()
        return trace_id(self._cluster, _spanned.get(), day)


def tracer_to(address: str, *, cluster: str, node: str, clock: Clock) -> OtelTracer:
    """``address``: of a collector, for OTLP over HTTP."""
    sdk = logging.getLogger("opentelemetry")
    sdk.handlers, sdk.propagate = [_Trouble(clock)], False
    sender = BatchSpanProcessor(
        OTLPSpanExporter(endpoint=address, timeout=SEND_TIMEOUT_S), export_timeout_millis=SEND_TIMEOUT_S * 1000
    )
    return OtelTracer(sender, cluster=cluster, node=node, clock=clock)


class _Trouble(logging.Handler):
    """What the sender complains of, as a line of our log, and not each time it tries."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._clock, self._told_at = clock, -TELL_AGAIN_S

    def emit(self, record: logging.LogRecord) -> None:
        now = self._clock.now()
        if now - self._told_at >= TELL_AGAIN_S:
            self._told_at = now
            log.warning("traces not sent", why=record.getMessage())


def _attributes(cause: str, about: dict[str, str]) -> dict[str, str]:
    return {"vmha.cause": cause, **{f"vmha.{name}": value for name, value in about.items()}}
