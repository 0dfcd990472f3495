"""An operator's cancel at every instant of a migration: it stays or it has gone, and the answer says which."""

import asyncio
import itertools

import pytest

from tests.sim.probes import add_running, answered, placement, restart_agent, see_at_once, starts
from tests.sim.test_migration_faults import COPY_S, INSTANTS, SOURCE, TARGET, migrating, one_instance
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Phase, Progress, Request, Verb
from vmha.model.settings import PROFILES, Profile
from vmha.model.vm import Handover, Migration, MigrationStyle
from vmha.operator.errors import RefusedByCluster
from vmha.operator.requests import submit

IN_TIME = ("asked for", "copying")


async def asked_for(cluster: Cluster) -> Request:
    """The migration that is under way."""
    (found,) = [each for each in (await cluster.hands.operator.read()).requests.values() if each.verb is Verb.MIGRATE]
    return found


CASES = [
    case
    for case in itertools.product(
        (*IN_TIME, "at the switch", "after the switch", "before the hand-over"),
        (MigrationStyle.LIVE, MigrationStyle.PAUSE),
        Handover,
    )
    if case[0] != "before the hand-over" or case[2] is Handover.SAFE  # libvirt's own switch is the hand-over
]


@pytest.mark.parametrize(("instant", "style", "handover"), CASES)
def test_cancel_keeps_the_guest_at_its_source_or_says_that_it_came_too_late(
    instant: str, style: MigrationStyle, handover: Handover
) -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, instant, style=style, handover=handover)
        migration = await asked_for(cluster)
        cancel = await cluster.hands.cancel_migration("web")
        said, theirs = [await answered(cluster, each.id, timeout_s=30.0) for each in (cancel, migration)]
        await one_instance(cluster)
        if instant in IN_TIME:
            assert cluster.where("web") == [SOURCE]
            assert said.progress is Progress.DONE
            assert said.text == "web stays on n1: cancelled by operator"
            assert (theirs.progress, theirs.text) == (Progress.FAILED, "web stays on n1: cancelled by operator")
        else:
            assert cluster.where("web") == [TARGET]
            assert said.progress is Progress.FAILED
            assert "too late" in said.text
            assert theirs.progress is Progress.DONE
        assert len({(fact.host, fact.epoch) for fact in starts(cluster, "web")}) == len(cluster.where("web")) + (
            instant not in IN_TIME
        )  # it was never booted anew

    in_cluster(scene)


def test_cancel_is_heard_while_the_source_waits_for_a_beat_of_its_target() -> None:
    """Libvirt is not to switch to a target that shows no life: its whole hold is waited for that."""

    async def scene(cluster: Cluster) -> None:
        how = Migration(handover=Handover.LIBVIRT)
        await add_running(cluster, "web", on=(SOURCE, "n3", TARGET), migration=how)
        cluster.hands.host(TARGET).cut_from_store()
        await cluster.hands.migrate("web", TARGET)
        await see_at_once(lambda: INSTANTS["asked for"](cluster) or None)
        cancel = await cluster.hands.cancel_migration("web")
        said = await answered(cluster, cancel.id, timeout_s=PROFILES[Profile.TUNED].hold_s / 2)
        assert (said.progress, said.text) == (Progress.DONE, "web stays on n1: cancelled by operator")
        cluster.hands.host(TARGET).heal()
        await one_instance(cluster)
        assert [fact.host for fact in starts(cluster, "web")] == [SOURCE]

    in_cluster(scene)


def test_cancel_finds_a_migration_whose_agent_was_restarted() -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "copying")
        cluster.world.fabric.set_migration_time("web", COPY_S)
        restart_agent(cluster, SOURCE)
        cancel = await cluster.hands.cancel_migration("web")
        said = await answered(cluster, cancel.id, timeout_s=30.0)
        await one_instance(cluster)
        where = SOURCE if said.progress is Progress.DONE else TARGET
        assert cluster.where("web") == [where]
        assert {fact.host for fact in starts(cluster, "web")} <= {SOURCE, TARGET}

    in_cluster(scene)


def test_cancel_of_nothing_is_refused_in_words() -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "claimed")
        await one_instance(cluster)
        with pytest.raises(RefusedByCluster, match="web is not being migrated; it is held on n2: nothing to cancel"):
            await cluster.hands.cancel_migration("web")

    in_cluster(scene)


def test_what_is_cancelled_is_not_brought_home_again_by_failback() -> None:
    """The failback that an operator calls off would begin anew in a moment, for ever."""

    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "claimed")
        await one_instance(cluster)
        cluster.world.fabric.set_migration_time("web", 5.0)
        cluster.hands.host(SOURCE).power_off()
        await cluster.rest()
        cluster.hands.host(SOURCE).power_on()  # more preferred, and it joins anew
        await see_at_once(lambda: is_going_home(cluster) or None, timeout_s=60.0)
        await asyncio.sleep(1.0)
        cancel = await cluster.hands.cancel_migration("web")
        assert (await answered(cluster, cancel.id, timeout_s=30.0)).progress is Progress.DONE
        await asyncio.sleep(60.0)
        await one_instance(cluster)
        assert cluster.where("web") == [TARGET]

    in_cluster(scene)


def is_going_home(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return held is not None and held.phase is Phase.MIGRATING and held.target == SOURCE


def test_second_cancel_is_told_of_the_first() -> None:
    async def scene(cluster: Cluster) -> None:
        await migrating(cluster, "copying")
        first = await cluster.hands.cancel_migration("web")
        second = await submit(cluster.hands.operator, Verb.CANCEL, vm="web")
        assert (await answered(cluster, first.id, timeout_s=30.0)).progress is Progress.DONE
        said = await answered(cluster, second.id, timeout_s=30.0)
        assert said.progress in (Progress.REJECTED, Progress.FAILED)
        await one_instance(cluster)

    in_cluster(scene)
