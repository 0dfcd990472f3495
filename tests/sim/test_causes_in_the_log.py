"""The log of a cluster: every line of an operation names its cause, the journal's, whichever node wrote it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import EventDict

from tests.sim.test_post_copy import moving
from tests.support.worlds import Cluster, in_cluster
from vmha.sim.quiet import silence_logs


@contextmanager
def listening() -> Iterator[list[dict[str, Any]]]:
    """The lines that all agents log, as they would be written."""
    lines: list[dict[str, Any]] = []

    def hear(_: Any, level: str, event: EventDict) -> EventDict:
        lines.append({**event, "level": level})
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, hear],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    try:
        yield lines
    finally:
        structlog.reset_defaults()
        silence_logs()


def test_recovery_has_one_cause_from_the_power_cut_to_the_guest_that_runs() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        (lost,) = cluster.where("web")
        await cluster.hands.register(lost, fence=True)
        with listening() as lines:
            cluster.hands.host(lost).power_off()
            await cluster.rest()
        entries, _ = await cluster.hands.operator.journal()
        (cause,) = {entry.cause for entry in entries if entry.kind == "recover"}
        of_it = [line["event"] for line in lines if line.get("cause") == cause]
        assert of_it[0] == "cutting power"
        assert {"step written", "doing", "written"} <= set(of_it)
        about_web = [line for line in lines if line.get("vm") == "web"]
        assert {line.get("cause") for line in about_web} == {cause}, about_web
        told = {
            entry.kind for entry in entries if entry.cause == cause and entry.kind in ("fenced", "recover", "claimed")
        }
        assert told == {"fenced", "recover", "claimed"}

    in_cluster(scene)


def test_what_was_asked_for_is_found_by_the_request_in_the_lines_of_leader_source_and_target() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        with listening() as lines:
            await cluster.hands.migrate("web", None)
            await cluster.rest()
        entries, _ = await cluster.hands.operator.journal()
        (cause,) = {entry.cause for entry in entries if entry.kind == "migrate"}
        assert cause.startswith("request-")
        kinds = {line.get("kind") or line.get("step") for line in lines if line.get("cause") == cause}
        assert {"migrate", "handed-over", "arrived", "AnswerRequest"} <= kinds, kinds
        assert {line.get("cause") for line in lines if line.get("vm") == "web"} == {cause}

    in_cluster(scene)


def test_crash_begins_a_cause_of_its_own() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        with listening() as lines:
            cluster.hands.crash("web")
            await cluster.rest()
        written = [(line["kind"], line["cause"]) for line in lines if line["event"] == "written"]
        assert ("stopped", "crashed-web-1") in written
        assert ("claimed", "crashed-web-1") in written

    in_cluster(scene)


def test_what_a_migration_took_is_in_the_journal_under_the_cause_that_began_it() -> None:
    async def scene(cluster: Cluster) -> None:
        await moving(cluster)
        await cluster.rest()
        entries, _ = await cluster.hands.operator.journal()
        (cause,) = {entry.cause for entry in entries if entry.kind == "migrate"}
        assert {entry.cause for entry in entries if entry.kind in ("handed-over", "migrated")} == {cause}

    in_cluster(scene)
