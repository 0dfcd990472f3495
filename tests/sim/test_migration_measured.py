"""How far a migration is, and what it took: on record, in the answer, and in words."""

import pytest

from tests.sim.probes import answered, placement
from tests.sim.test_migration_faults import COPY_S, TARGET, migrating, one_instance
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName, VmName
from vmha.model.records import Verb
from vmha.model.vm import Handover, MigrationStyle
from vmha.operator.overview import overview, plain_vm
from vmha.operator.why import sentences, why
from vmha.policy.telling.explain import VmSummary


async def summary(cluster: Cluster) -> VmSummary:
    client = cluster.hands.operator
    (found,) = overview(await client.read(), cluster="sim", wall=client.clock.wall()).vms
    return found


@pytest.mark.parametrize("handover", list(Handover))
@pytest.mark.parametrize("style", [MigrationStyle.LIVE, MigrationStyle.PAUSE])
def test_what_a_migration_took_is_in_the_placement_the_journal_and_the_answer(
    style: MigrationStyle, handover: Handover
) -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "copying", style=style, handover=handover)
        snapshot = await cluster.hands.operator.read()
        (request,) = [each for each in snapshot.requests.values() if each.verb is Verb.MIGRATE]
        said = await answered(cluster, request.id, timeout_s=30.0)
        await one_instance(cluster)
        held = placement(cluster, "web")
        assert held is not None
        assert held.moved is not None
        assert held.moved.source == NodeName("n1")
        assert COPY_S * 0.9 <= held.moved.total_s <= COPY_S * 1.1
        stood_s = stood_still_s(cluster)
        assert held.moved.downtime_s == pytest.approx(stood_s, abs=0.01)
        assert (held.moved.stood_s > 0) == (handover is Handover.SAFE)
        assert said.text == f"web runs on n2; {held.moved}"
        entries, _ = await cluster.hands.operator.journal()
        assert str(held.moved) in {entry.text for entry in entries if entry.kind == "migrated"}
        told = why(await cluster.hands.operator.read(), "web", wall=cluster.world.clock.wall())
        assert f"It was {held.moved}." in sentences(told)
        plain = plain_vm(await summary(cluster))
        assert plain["moved"]["stood_s"] == held.moved.stood_s

    in_cluster(scene)


def stood_still_s(cluster: Cluster) -> float:
    """The hosts' own history: from the source's last instruction to the target's first."""
    facts = [fact for fact in cluster.world.fabric.history if fact.vm == "web"]
    goes_on = next(fact.time for fact in facts if fact.host == TARGET and fact.deed == "runs")
    stops = [fact.time for fact in facts if fact.host != TARGET and fact.deed == "stands"]
    return goes_on - stops[-1]


def test_progress_is_shown_as_numbers_and_in_words_and_goes_with_the_migration() -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "asked for")
        cluster.world.fabric.set_migration_time("web", COPY_S)
        await until(lambda: is_shown(cluster), what="progress on record", timeout_s=10.0)
        shown = await summary(cluster)
        assert shown.migration is not None
        assert 0 < shown.migration.remaining_bytes < shown.migration.total_bytes
        assert shown.progress == str(shown.migration)
        assert plain_vm(shown)["migration"]["iteration"] == 1
        told = why(await cluster.hands.operator.read(), "web", wall=cluster.world.clock.wall())
        assert f"How far it is: {shown.progress}." in sentences(told)
        await one_instance(cluster)
        assert (await summary(cluster)).migration is None
        assert not is_shown(cluster)

    in_cluster(scene)


def is_shown(cluster: Cluster) -> bool:
    view = cluster.observer.snapshot.vms[VmName("web")]
    return any(seen.migration for seen in view.seen.values())


def test_progress_is_written_no_more_than_once_a_second() -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "asked for")
        begin = cluster.world.clock.now()
        await one_instance(cluster)
        key = "nodes/n1/vms/web"
        lines = cluster.world.record.catch_up().lines
        written = [line for line in lines if line.at_s >= begin and key in {each.key for each in line.written}]
        assert 1 < len(written) <= COPY_S + 3  # that it leaves, each second of it, and that it has gone

    in_cluster(scene)
