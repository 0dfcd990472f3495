"""Traces of this agent, if its settings name a collector: what is to be seen of them is worth less than the agent."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from vmha.model.clock import Clock
from vmha.node.settings import NodeSettings
from vmha.tracing.operation import trace_with

log = structlog.get_logger(__name__)

NEEDS = "the extra otel: in a checkout pip install '.[otel]'"


@contextmanager
def traces(settings: NodeSettings, clock: Clock) -> Iterator[None]:
    """Around the event loop: at the end what is left is sent, unless the collector takes its time."""
    if not settings.traces_to:
        yield
        return
    try:
        from vmha.tracing.otel import tracer_to
    except ImportError as error:
        log.error("no traces", traces_to=settings.traces_to, why=str(error), needs=NEEDS)
        yield
        return
    tracer = tracer_to(settings.traces_to, cluster=settings.cluster, node=settings.node, clock=clock)
    trace_with(tracer)
    try:
        yield
    finally:
        trace_with(None)
        tracer.close()
