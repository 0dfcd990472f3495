"""A hand migrates a guest away, and its node falls silent: where it may run nobody starts it, and says why."""

import asyncio
from collections.abc import Callable

import pytest

from tests.sim.probes import add_running, placement
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.errors import Refused
from vmha.model.records import Phase
from vmha.sim.journal import read_journal

HOME, MEMBER, OUTSIDE = "n1", "n2", "elsewhere"
COPY_S = 2.0
SILENCES: dict[str, Callable[[Cluster], object]] = {
    "without power": lambda cluster: cluster.hands.host(HOME).power_off(),
    "cut from the store": lambda cluster: cluster.hands.host(HOME).cut_from_store(),
    "agent stopped": lambda cluster: cluster.hands.host(HOME).stop_agent(),
}


async def begin_leaving(cluster: Cluster, to: str) -> None:
    """Half of its memory is there."""
    await add_running(cluster, "web", on=(HOME, MEMBER, "n3"))
    cluster.world.fabric.set_migration_time("web", COPY_S)
    cluster.hands.virsh_migrate("web", to)
    await asyncio.sleep(COPY_S / 2)


def is_in(cluster: Cluster, phase: Phase) -> bool:
    now = placement(cluster, "web")
    return now is not None and now.phase is phase


def told(cluster: Cluster, kind: str) -> list[str]:
    return [line.text for line in read_journal(cluster.world.record.catch_up().lines) if line.kind == kind]


def runs_outside_and_nowhere_else(silence: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await begin_leaving(cluster, OUTSIDE)
        SILENCES[silence](cluster)
        await until(lambda: is_in(cluster, Phase.DEPARTED), what="departed", timeout_s=30.0)
        await asyncio.sleep(30.0)
        assert cluster.where("web") == [OUTSIDE]
        assert "to a host that no member has shown to be it" in told(cluster, "leaving")[-1]
        assert "somebody was migrating it away from n1" in told(cluster, "depart")[-1]
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_that_arrives_outside_after_its_node_was_cut_off_runs_there_and_nowhere_else() -> None:
    runs_outside_and_nowhere_else("cut from the store")


def test_guest_that_arrives_outside_after_its_agent_was_stopped_runs_there_and_nowhere_else() -> None:
    runs_outside_and_nowhere_else("agent stopped")


def test_guest_whose_migration_out_broke_with_its_node_starts_when_an_operator_confirms_it_gone() -> None:
    async def scene(cluster: Cluster) -> None:
        await begin_leaving(cluster, OUTSIDE)
        SILENCES["without power"](cluster)
        await until(lambda: is_in(cluster, Phase.DEPARTED), what="departed", timeout_s=30.0)
        await until(lambda: cluster.world.fabric.instances("web") == [], what="it is gone", timeout_s=60.0)
        await cluster.hands.confirm_gone("web")
        await until(lambda: cluster.where("web") == [MEMBER], what="it starts", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("silence", SILENCES)
def test_guest_on_its_way_to_a_member_is_recovered_without_a_word_of_an_operator(silence: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await begin_leaving(cluster, MEMBER)
        SILENCES[silence](cluster)
        await until(lambda: cluster.where("web") == [MEMBER], what="it runs there", timeout_s=60.0)
        await asyncio.sleep(30.0)
        assert cluster.where("web") == [MEMBER]
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_is_not_let_in_by_a_member_that_has_booted_and_has_no_session_yet() -> None:
    """The store is away. Its source can not put on record that it leaves; and once that has booted, and is empty, it is
    proof enough to start it again, while no guard ends what has come in.
    """

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME,))
        home, member = cluster.hands.host(HOME), cluster.hands.host(MEMBER)
        member.power_off()
        cluster.world.etcd.stop()
        member.power_on()
        await asyncio.sleep(0.5)
        said = ""
        try:
            cluster.hands.virsh_migrate("web", MEMBER)
        except Refused as error:
            said = str(error)
        await asyncio.sleep(1.0)
        member.cut_from_store()
        home.power_off()
        home.power_on()
        cluster.world.etcd.start()
        await until(lambda: HOME in cluster.where("web"), what="it runs again", timeout_s=60.0)
        assert cluster.where("web") == [HOME]
        assert "this node has no session" in said
        member.heal()
        await cluster.rest()
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_whose_migration_out_fails_is_not_leaving_any_more() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", on=(HOME, MEMBER, "n3"))
        cluster.world.fabric.fail_migration("web")
        cluster.world.fabric.set_migration_time("web", COPY_S)
        cluster.hands.virsh_migrate("web", OUTSIDE)
        await until(lambda: "it stays on n1" in "".join(told(cluster, "leaving")), what="it is told")
        cluster.hands.host(HOME).power_off()
        await until(lambda: cluster.where("web") == [MEMBER], what="it is recovered", timeout_s=60.0)
        assert cluster.violations() == []

    in_cluster(scene)
