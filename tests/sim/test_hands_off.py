"""Frozen vms and a paused cluster under the real agents and leader: what is left alone, and what follows afterwards."""

from collections.abc import Awaitable, Callable

import pytest

from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.errors import Rejected
from vmha.model.holds import PauseMode
from vmha.model.ids import VmName
from vmha.model.records import Placement
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember
from vmha.operator.errors import RefusedByCluster


def played(scene: Callable[[Cluster], Awaitable[None]], *, watchdog_s: int = 0) -> None:
    """In a cluster of three in which ``web`` runs on n1 and prefers n1, n2, n3; none ran twice, no hold was broken."""

    async def whole(cluster: Cluster) -> None:
        members = tuple(FailoverDomainMember(node=f"n{rank}", priority=rank) for rank in (1, 2, 3))
        await cluster.hands.add_domain(FailoverDomain(name="home", ordered=True, members=members))
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, failover_domain="home", start=True)
        await cluster.rest()
        assert cluster.where("web") == ["n1"]
        await scene(cluster)
        assert cluster.violations() == []

    in_cluster(whole, watchdog_s=watchdog_s)


def claim(cluster: Cluster, vm: str = "web") -> Placement:
    stored = cluster.observer.snapshot.vms[VmName(vm)].placement
    assert stored is not None
    return stored.value


def test_frozen_vm_whose_owner_is_powered_off_is_recovered_when_it_is_unfrozen_and_not_before() -> None:
    """RGManager's manual called this "undefined and possibly dangerous"."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.freeze("web")
        cluster.hands.host("n1").power_off()
        await cluster.rest()
        assert cluster.where("web") == []
        assert "is frozen by operator: hands off; n1 is fenced" in claim(cluster).reason.text
        cluster.hands.host("n1").power_on()
        await cluster.rest()
        assert cluster.where("web") == []
        await cluster.hands.unfreeze("web")
        await cluster.rest()
        assert cluster.where("web") == ["n1"]

    played(scene)


def test_frozen_vm_that_crashes_stays_down_until_it_is_unfrozen() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.freeze("web")
        cluster.hands.crash("web")
        await cluster.rest()
        assert cluster.where("web") == []
        await cluster.hands.unfreeze("web")
        await cluster.rest()
        assert cluster.where("web") == ["n1"]

    played(scene)


def test_frozen_vm_that_a_hand_moves_is_adopted_where_it_goes_and_left_there() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.freeze("web")
        cluster.hands.virsh_migrate("web", "n3")
        await cluster.rest()
        assert (cluster.where("web"), claim(cluster).node, claim(cluster).epoch) == (["n3"], "n3", 2)
        await cluster.hands.drain("n3")
        await cluster.rest()
        assert cluster.where("web") == ["n3"]
        await cluster.hands.unfreeze("web")
        await cluster.rest()
        assert cluster.where("web") == ["n1"]

    played(scene)


def test_frozen_vm_of_a_node_that_can_not_commit_is_ended_by_its_guard_all_the_same() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.freeze("web")
        cluster.hands.host("n1").cut()
        await cluster.rest()
        assert cluster.where("web") == []
        cluster.hands.host("n1").heal()
        await cluster.rest()
        await cluster.hands.unfreeze("web")
        await cluster.rest()
        assert cluster.where("web") == ["n1"]

    played(scene)


def test_migration_under_way_comes_to_its_end_when_its_vm_is_frozen() -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.world.fabric.set_migration_time("web", 3.0)
        await cluster.hands.migrate("web", "n2")
        await until(lambda: any(guest.migration for guest in cluster.world.fabric.host("n1").guests.values()))
        await cluster.hands.freeze("web")
        await cluster.rest()
        assert (cluster.where("web"), claim(cluster).node) == (["n2"], "n2")

    played(scene)


def test_every_verb_on_a_frozen_vm_is_refused_at_once_with_the_way_out() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.freeze("web")
        for verb in (
            cluster.hands.stop("web"),
            cluster.hands.disable("web"),
            cluster.hands.restart("web"),
            cluster.hands.migrate("web", "n2"),
            cluster.hands.relocate("web", None),
        ):
            with pytest.raises(RefusedByCluster, match="vmha vm unfreeze web"):
                await verb
        await cluster.hands.start("web")  # it runs: as asked
        assert cluster.where("web") == ["n1"]

    played(scene)


def test_freeze_with_a_time_ends_by_itself_though_the_wall_clocks_are_off_and_the_leader_changes() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.freeze("web", for_s=60.0)
        cluster.hands.crash("web")
        await cluster.rest()
        leader = cluster.observer.snapshot.leader
        assert leader is not None
        cluster.hands.host(leader.value.node).clock.jump(3 * 86400.0)
        if leader.value.node != "n1":
            cluster.hands.host(leader.value.node).stop_agent()
        await cluster.rest()
        assert cluster.where("web") == []
        await until(lambda: cluster.where("web") != [], what="web runs again", timeout_s=90.0)

    played(scene)


@pytest.mark.parametrize("mode", list(PauseMode))
def test_paused_cluster_recovers_nothing_of_a_lost_node_until_it_is_resumed(mode: PauseMode) -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.pause(mode)
        cluster.hands.host("n1").power_off()
        await cluster.rest()
        assert cluster.where("web") == []
        proven = [record for record in cluster.observer.snapshot.fenced.values() if record.node == "n1"]
        assert bool(proven) is (mode is PauseMode.STARTS)
        await cluster.hands.resume()
        await cluster.rest()
        assert cluster.where("web") == ["n2"]

    played(scene)


def test_paused_cluster_gets_back_a_node_that_was_lost_meanwhile() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.pause(PauseMode.ALL)
        cluster.hands.host("n1").power_off()
        await cluster.rest()
        cluster.hands.host("n1").power_on()
        await cluster.rest()
        assert cluster.where("web") == []
        await cluster.hands.resume()
        await cluster.rest()
        assert cluster.where("web") == ["n1"]

    played(scene)


@pytest.mark.parametrize(("mode", "is_back"), [(PauseMode.STARTS, True), (PauseMode.ALL, False)])
def test_guest_that_ends_is_restarted_where_it_ran_while_no_more_than_starts_are_paused(
    mode: PauseMode, is_back: bool
) -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.pause(mode)
        cluster.hands.crash("web")
        await cluster.rest()
        assert cluster.where("web") == (["n1"] if is_back else [])
        await cluster.hands.resume()
        await cluster.rest()
        assert cluster.where("web") == ["n1"]

    played(scene)


def test_pause_of_starts_stops_and_migrates_and_survives_its_leader() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.pause(PauseMode.STARTS)
        await cluster.hands.migrate("web", "n3")
        await cluster.rest()
        assert cluster.where("web") == ["n3"]
        await cluster.hands.stop("web")
        await cluster.rest()
        assert cluster.where("web") == []
        leader = cluster.observer.snapshot.leader
        assert leader is not None
        cluster.hands.host(leader.value.node).power_off()
        await cluster.rest()
        with pytest.raises(RefusedByCluster, match="vmha resume"):
            await cluster.hands.start("web")
        await cluster.hands.resume()
        await cluster.hands.start("web")
        await cluster.rest()
        assert len(cluster.where("web")) == 1

    played(scene)


def test_what_must_be_down_is_put_down_on_record_while_everything_is_paused() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.stop("web")
        await cluster.rest()
        await cluster.hands.pause(PauseMode.ALL)
        await cluster.hands.disable("web")
        spec = (await cluster.hands.operator.read()).vms[VmName("web")].spec
        assert spec is not None
        assert spec.value.desired is Desired.DISABLED
        with pytest.raises(Rejected, match="paused"):
            await cluster.hands.enable("web")

    played(scene)
