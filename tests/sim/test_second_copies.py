"""A second copy that was paused as such: it stands while the rightful one runs, and never becomes the vm."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from tests.sim.probes import add_running, placement, restart_agent, scrape
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.states import Mark
from vmha.hypervisor.twin.fabric_state import Deed, Memory
from vmha.model.records import Phase
from vmha.model.settings import ClusterConfig, GateMode, Profile
from vmha.model.vm import AfterShutdown, OnDuplicate
from vmha.operator.overview import overview
from vmha.operator.vms import edit
from vmha.sim.journal import read_journal
from vmha.sim.world.hands import domain_xml

XML = domain_xml("web", memory_mib=1024, vcpus=1)
STANDS = ("n2", DomainState.PAUSED)


def with_a_second_copy(scene: Callable[[Cluster], Awaitable[None]], *, runs_again: bool = False) -> None:
    """``scene`` begins with the vm running on n1, and a copy of it paused as such on n2.

    ``runs_again``: a hand lets the copy run, in the scene.
    """

    async def play(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
        await add_running(cluster, "web")
        cluster.hands.virsh_start(XML, "n2")
        await until(lambda: STANDS in instances(cluster), what="the second copy to be paused")
        await cluster.rest()
        assert cluster.where("web") == ["n1"]
        begun = cluster.world.clock.now()
        await scene(cluster)
        twice = [one for one in cluster.violations() if one.at_s >= begun and one.law == "never-two"]
        assert bool(twice) is runs_again

    in_cluster(play)


def instances(cluster: Cluster) -> list[tuple[str, DomainState]]:
    return cluster.world.fabric.instances("web")


def memories(cluster: Cluster) -> list[Memory]:
    return [cluster.world.fabric.host(host).guests["web"].memory for host, _ in instances(cluster)]


async def boots_anew(cluster: Cluster, before: list[Memory]) -> None:
    """From its disk, once; and nothing is left standing."""
    await until(lambda: len(cluster.where("web")) == 1, what="the vm to run again", timeout_s=60.0)
    await cluster.rest()
    assert [state for _, state in instances(cluster)] == [DomainState.RUNNING]
    assert all(memories(cluster)[0] is not memory for memory in before)


@pytest.mark.parametrize("is_agent_new", [False, True])
def test_second_copy_whose_rightful_holder_is_lost_is_ended_and_the_vm_boots_anew(is_agent_new: bool) -> None:
    async def scene(cluster: Cluster) -> None:
        before = memories(cluster)
        if is_agent_new:
            restart_agent(cluster, "n2")
            await cluster.rest()
            assert STANDS in instances(cluster)
        cluster.hands.host("n1").power_off()
        await boots_anew(cluster, before)
        held = placement(cluster, "web")
        assert held
        assert held.reason.rule == "lost-vm-is-recovered"

    with_a_second_copy(scene)


def test_second_copy_is_ended_when_the_vm_is_stopped_and_a_start_boots_it_anew() -> None:
    async def scene(cluster: Cluster) -> None:
        before = memories(cluster)
        await cluster.hands.stop("web")
        await until(lambda: instances(cluster) == [], what="both to be gone")
        await cluster.hands.start("web")
        await boots_anew(cluster, before)

    with_a_second_copy(scene)


def test_second_copy_is_ended_when_the_rightful_guest_ends_by_itself() -> None:
    async def scene(cluster: Cluster) -> None:
        before = memories(cluster)
        cluster.world.fabric.crash("web", host="n1")
        await boots_anew(cluster, before)

    with_a_second_copy(scene)


def test_guest_that_powers_itself_off_while_a_copy_stands_elsewhere_stays_down_where_it_is_to() -> None:
    async def scene(cluster: Cluster) -> None:
        await edit(cluster.hands.operator, "web", on_guest_shutdown=AfterShutdown.STOP)
        await cluster.rest()
        cluster.world.fabric.power_off_guest("web")
        await until(lambda: instances(cluster) == [], what="the copy to be ended", timeout_s=60.0)
        await cluster.rest()
        assert instances(cluster) == []
        record = cluster.world.record.catch_up().lines
        claimed = [line for line in read_journal(record) if line.kind == "claimed" and line.vm == "web"]
        assert len(claimed) == 1, "as it was started at first"

    with_a_second_copy(scene)


def test_second_copy_whose_own_node_is_lost_with_the_holders_is_no_more_than_gone() -> None:
    async def scene(cluster: Cluster) -> None:
        before = memories(cluster)
        cluster.hands.host("n2").stop_agent()
        cluster.hands.host("n1").power_off()
        await boots_anew(cluster, before)

    with_a_second_copy(scene)


def test_second_copy_that_a_hand_lets_run_is_paused_again() -> None:
    async def scene(cluster: Cluster) -> None:
        cluster.world.fabric.virsh_resume("web", "n2")
        await until(lambda: cluster.where("web") == ["n1"], what="it to be paused again")

    with_a_second_copy(scene, runs_again=True)


def test_second_copy_stands_while_the_vm_may_run_outside_and_is_ended_once_that_is_confirmed_gone() -> None:
    async def scene(cluster: Cluster) -> None:
        before = memories(cluster)
        cluster.hands.virsh_migrate("web", "elsewhere")
        await until(lambda: (held := placement(cluster, "web")) is not None and held.phase is Phase.DEPARTED, what="it")
        await asyncio.sleep(20.0)
        assert STANDS in instances(cluster)
        cluster.world.fabric.virsh_destroy("web", "elsewhere")
        await cluster.hands.confirm_gone("web")
        await boots_anew(cluster, before)

    with_a_second_copy(scene)


def test_vm_that_is_removed_and_added_again_is_adopted_where_it_runs_and_not_where_a_copy_stands() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.remove("web")
        await cluster.rest()
        await cluster.hands.add("web", memory_mib=1024, vcpus=1)
        await cluster.rest()
        held = placement(cluster, "web")
        assert held
        assert (held.phase, held.node) == (Phase.HELD, "n1")
        assert STANDS in instances(cluster)

    with_a_second_copy(scene)


def test_what_is_left_of_a_removed_vm_is_a_second_copy_and_it_boots_anew_when_it_is_added_and_started() -> None:
    async def scene(cluster: Cluster) -> None:
        before = memories(cluster)
        await cluster.hands.remove("web")
        await cluster.rest()
        cluster.world.fabric.virsh_destroy("web", "n1")
        await asyncio.sleep(5.0)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await boots_anew(cluster, before)

    with_a_second_copy(scene)


def test_second_copy_that_came_by_a_migration_is_known_for_one_once_the_holder_has_said_so_for_a_while() -> None:
    """At first its source may be speaking of the past: then what came by migration is the vm, and must not be ended."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
        await add_running(cluster, "web")
        before = memories(cluster)
        cluster.world.fabric.lose_migration_reply("web")
        cluster.hands.virsh_migrate("web", "n2")
        await until(lambda: STANDS in instances(cluster), what="the second copy to be paused", timeout_s=60.0)
        assert cluster.where("web") == ["n1"]
        assert not is_second(cluster)
        await until(lambda: is_second(cluster), what="it to be known for one", timeout_s=60.0)
        cluster.hands.host("n1").power_off()
        await boots_anew(cluster, before)

    in_cluster(scene)


@pytest.mark.parametrize("is_agent_new", [False, True])
def test_guest_that_a_hand_has_brought_and_that_was_paused_as_one_too_many_goes_on_when_it_is_the_only_one(
    is_agent_new: bool,
) -> None:
    """Its source is slow to say that it has left. Nobody's pause it is: vmha made it, perhaps by another process."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
        await add_running(cluster, "web")
        cluster.world.etcd.slow("n1", 2.5)
        cluster.hands.virsh_migrate("web", "n2")
        await until(lambda: STANDS in instances(cluster), what="it is paused", timeout_s=10.0)
        assert instances(cluster) == [STANDS]
        if is_agent_new:
            restart_agent(cluster, "n2")
        cluster.world.etcd.slow("n1", 0.001)
        await until(lambda: cluster.where("web") == ["n2"], what="it goes on", timeout_s=30.0)
        cluster.hands.virsh_suspend("web")
        await asyncio.sleep(10.0)
        assert instances(cluster) == [STANDS], "that was a hand"
        assert cluster.violations() == []

    in_cluster(scene)


def test_copy_that_was_set_aside_while_its_source_ran_on_is_not_let_go_when_that_dies() -> None:
    """libvirt's last reply was lost: the source went on, and the copy's memory is older than the disk."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
        await add_running(cluster, "web")
        cluster.world.fabric.lose_migration_reply("web")
        cluster.hands.virsh_migrate("web", "n2")
        await until(lambda: STANDS in instances(cluster), what="it is paused", timeout_s=10.0)
        begun = cluster.world.clock.now()
        cluster.world.fabric.crash("web", host="n1")
        await asyncio.sleep(60.0)
        stale = [line for line in cluster.world.fabric.history if line.time > begun and line.stale]
        assert [line for line in stale if line.deed is Deed.RUNS] == []

    in_cluster(scene)


def is_second(cluster: Cluster) -> bool:
    guest = cluster.world.fabric.host("n2").guests["web"]
    return guest.mark is Mark.SECOND


def is_known_to_all(cluster: Cluster, holder: str, other: str) -> bool:
    """It is in the journal, what every member knows makes the same warning of it, and every endpoint counts it."""
    record = cluster.world.record.catch_up().lines
    told = [line.text for line in read_journal(record) if line.kind == "duplicate"]
    snapshots = [host.member.mirror.snapshot() for host in cluster.world.hosts.values() if host.member]
    warned = [overview(one, cluster="sim", wall=cluster.world.clock.wall()).warnings for one in snapshots]
    words = f"vm web RUNS TWICE: seen on {', '.join(sorted((holder, other)))}"
    return (
        told == [f"it ran on {other} too, while {holder} holds it"]
        and len(warned) == len(cluster.world.hosts)
        and all(words in one for one in warned)
        and [duplicates(cluster, node) for node in cluster.world.hosts] == [1.0] * len(cluster.world.hosts)
    )


def duplicates(cluster: Cluster, node: str) -> float:
    return scrape(cluster, node)["vmha_vms", "duplicate"]


@pytest.mark.parametrize(("holder", "other"), list(itertools.permutations(("n1", "n2", "n3", "n4"), 2)))
def test_second_copy_on_any_two_members_is_found_within_two_seconds_and_every_member_knows(
    holder: str, other: str
) -> None:
    """Leader or not, first or last: by the time of the simulation, from the instant at which the second one runs."""

    async def play(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
        rest = [node for node in ("n1", "n2", "n3", "n4") if node not in (holder, other)]
        await add_running(cluster, "web", on=(holder, *rest, other), on_duplicate=OnDuplicate.ALARM)
        cluster.hands.virsh_start(XML, other)
        await until(lambda: len(cluster.where("web")) == 2, what="the second copy to run")
        await asyncio.sleep(2.0)
        assert is_known_to_all(cluster, holder, other)
        assert [one.law for one in cluster.violations()] == ["never-two"]
        cluster.world.fabric.virsh_destroy("web", other)
        await asyncio.sleep(2.0)
        assert {duplicates(cluster, node) for node in cluster.world.hosts} == {0.0}

    in_cluster(play, nodes=4)
