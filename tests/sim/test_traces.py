"""Traces: all that follows from one cause is one of them, put together from what each agent sends."""

import gzip
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.worlds import Cluster, in_cluster
from vmha.model.clock import SystemClock
from vmha.tracing.operation import operation, part, past, trace_with
from vmha.tracing.otel import OtelTracer, trace_id, tracer_to


@contextmanager
def traced(node: str = "n1") -> Iterator[InMemorySpanExporter]:
    spans = InMemorySpanExporter()
    trace_with(OtelTracer(SimpleSpanProcessor(spans), cluster="c", node=node, clock=SystemClock()))
    try:
        yield spans
    finally:
        trace_with(None)


def names(spans: Iterator[ReadableSpan] | tuple[ReadableSpan, ...]) -> list[str]:
    return [span.name for span in spans]


def number_of(span: ReadableSpan) -> int:
    assert span.context
    return span.context.trace_id


def of_cause(spans: InMemorySpanExporter, cause: str) -> tuple[ReadableSpan, ...]:
    return tuple(span for span in spans.get_finished_spans() if (span.attributes or {})["vmha.cause"] == cause)


def fail_after_a_crash() -> None:
    with operation("stop", "request-1"):
        with operation("stopped", "crashed-web-4"):
            pass
        with part("hypervisor"):
            pass
        raise OSError("gone")


def test_two_agents_that_know_the_same_cause_take_the_same_trace() -> None:
    numbers = []
    for node in ("n1", "n2"):
        with traced(node) as spans, operation("start", "lost-n9-abcdef", vm="web"), part("hypervisor"):
            pass
        inner, outer = spans.get_finished_spans()
        assert names((inner, outer)) == ["hypervisor", "start"]
        assert inner.parent
        assert outer.context
        assert inner.parent.span_id == outer.context.span_id
        assert outer.parent is None
        assert (outer.attributes or {})["vmha.vm"] == "web"
        assert outer.resource.attributes["service.instance.id"] == node
        numbers += [number_of(inner), number_of(outer)]
    assert len(set(numbers)) == 1
    assert numbers[0] == trace_id("c", "lost-n9-abcdef", "any day")


def test_causes_that_come_again_have_a_trace_a_day_and_clusters_have_their_own() -> None:
    assert trace_id("c", "drain-n1", "2026-11-29") != trace_id("c", "drain-n1", "2026-11-30")
    assert trace_id("c", "request-7", "2026-11-29") == trace_id("c", "request-7", "2026-11-30")
    assert trace_id("c", "request-7", "") != trace_id("d", "request-7", "")


def test_another_cause_within_begins_a_trace_of_its_own_and_what_failed_is_marked() -> None:
    with traced() as spans:
        with pytest.raises(OSError, match="gone"):
            fail_after_a_crash()
        past("silence", "lost-n2-aaaaaa", 3.0, node="n2")
    crashed, part_of, stop, silence = spans.get_finished_spans()
    assert crashed.parent is None
    assert number_of(part_of) == number_of(stop) != number_of(crashed)
    assert not stop.status.is_ok
    assert crashed.status.is_ok
    assert silence.start_time
    assert silence.end_time
    assert round((silence.end_time - silence.start_time) / 1e9, 1) == 3.0


def test_recovery_is_one_trace_with_silence_plan_claim_and_start() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        (lost,) = cluster.where("web")
        with traced() as spans:
            cluster.hands.host(lost).power_off()
            await cluster.rest()
        entries, _ = await cluster.hands.operator.journal()
        (cause,) = {entry.cause for entry in entries if entry.kind == "recover"}
        found = of_cause(spans, cause)
        assert {"silence", "plan", "EvictSession", "recover", "start", "claimed", "hypervisor"} <= set(names(found))
        assert len({number_of(span) for span in found}) == 1

    in_cluster(scene)


def test_migration_that_was_asked_for_is_one_trace_from_request_to_arrival() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        with traced() as spans:
            await cluster.hands.migrate("web", None)
            await cluster.rest()
        entries, _ = await cluster.hands.operator.journal()
        (cause,) = {entry.cause for entry in entries if entry.kind == "migrate"}
        found = of_cause(spans, cause)
        assert {"plan", "migrate", "hypervisor", "handed-over", "arrived", "request migrate"} <= set(names(found))
        assert len({number_of(span) for span in found}) == 1

    in_cluster(scene)


WITHOUT_A_COLLECTOR = """
import threading
from vmha.model.clock import SystemClock
from vmha.node.logs import set_up_logging
from vmha.tracing.operation import operation, trace_with
from vmha.tracing.otel import tracer_to
set_up_logging("info")
tracer = tracer_to("http://127.0.0.1:9/v1/traces", cluster="c", node="n1", clock=SystemClock())
trace_with(tracer)
with operation("start", "request-1"):
    print("done")
tracer.close()
for thread in threading.enumerate():
    if thread.name.startswith("traces"):
        thread.join()
"""


def test_collector_that_is_not_there_ends_nothing_and_is_told_once_in_the_form_of_the_log() -> None:
    program = [sys.executable, "-c", WITHOUT_A_COLLECTOR]
    done = subprocess.run(program, capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout == "done\n"
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == "traces not sent"


class Collector(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP, as any collector does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        took = ExportTraceServiceRequest.FromString(
            gzip.decompress(body) if self.headers.get("content-encoding") else body
        )
        self.server.took.put((self.path, took))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_collector_gets_what_an_agent_did_under_the_trace_of_its_cause() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.took = queue.Queue()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        tracer = tracer_to(address, cluster="c", node="n1", clock=SystemClock())
        with tracer.span("start", "request-1", {"vm": "web"}):
            pass
        tracer.close()
        path, took = server.took.get(timeout=30.0)  # type: ignore[attr-defined]
        server.shutdown()
    assert path == "/v1/traces"
    (whole,) = took.resource_spans
    (span,) = whole.scope_spans[0].spans
    assert (span.name, span.trace_id.hex()) == ("start", f"{trace_id('c', 'request-1', ''):032x}")
    assert "n1" in {one.value.string_value for one in whole.resource.attributes}


class Hanging(SpanExporter):
    """A collector that answers only when the agent has ended, or after much too long."""

    def __init__(self) -> None:
        self.ended, self.said = threading.Event(), queue.Queue[bool]()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.said.put(self.ended.wait(20.0))
        return SpanExportResult.FAILURE


def test_agent_that_ends_does_not_wait_for_a_collector_that_hangs() -> None:
    collector = Hanging()
    tracer = OtelTracer(BatchSpanProcessor(collector), cluster="c", node="n1", clock=SystemClock())
    with tracer.span("start", "request-1", {}):
        pass
    tracer.close()
    collector.ended.set()
    assert collector.said.get(timeout=30.0)


def test_nothing_of_opentelemetry_is_imported_unless_it_is_asked_for() -> None:
    program = (
        "import sys, vmha.node.process, vmha.node.traces\n"
        "from vmha.tracing.operation import operation, part, past\n"
        "with operation('start', 'request-1'), part('hypervisor'): past('plan', 'request-1', 1.0)\n"
        "print(sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.strip() == "[]"
