"""Losses and restarts at the worst instant: each of these once stranded a vm, ran it twice or ended it needlessly."""

import asyncio
from dataclasses import replace

from tests.sim.probes import (
    SkewedClock,
    add_running,
    answered,
    leader_of,
    placement,
    queue_one_start,
    raw,
    restart_agent,
    runs_on,
    see_at_once,
    starts,
)
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import decode
from vmha.model.records import ArmedLevel, BeatRecord, Phase, Progress
from vmha.model.settings import ClusterConfig, Fencing, Profile, Proof
from vmha.model.vm import Desired, Recovery
from vmha.node.member import Ports


def beat_of(cluster: Cluster, node: str) -> BeatRecord | None:
    value = raw(cluster, cluster.world.keys.beat(NodeName(node)))
    return decode(BeatRecord, value, where=node) if value else None


def test_node_that_reboots_quickly_and_dies_again_before_it_has_looked_strands_no_vm() -> None:
    """Its second session replaced the beat of the first: the proof for the second speaks for the first as well."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        host = cluster.hands.host("n1")
        first = beat_of(cluster, "n1")
        assert first
        host.power_off()
        host.power_on()
        host.stop_libvirtd()  # so that it can not say what it runs

        def has_a_new_session() -> bool:
            beat = beat_of(cluster, "n1")
            return beat is not None and beat.session != first.session and beat.armed is ArmedLevel.GUARD

        await until(has_a_new_session, what="a second session")
        host.power_off()
        await runs_on(cluster, "web", "n2", timeout_s=20.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_start_still_queued_when_its_agent_is_killed_is_given_to_nobody_else_before_it_is_certain() -> None:
    async def scene(cluster: Cluster) -> None:
        came_out = queue_one_start(cluster, "n1", 4.0)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, recovery=Recovery.RELOCATE)
        await until(
            lambda: (held := placement(cluster, "web")) is not None and held.phase is Phase.HELD, what="a claim"
        )
        await asyncio.sleep(0.2)
        restart_agent(cluster, "n1")
        await until(came_out, what="the queued start")
        await runs_on(cluster, "web", "n1", timeout_s=5.0)
        await cluster.rest()
        assert cluster.where("web") == ["n1"]
        assert len(starts(cluster, "web")) == 1
        assert cluster.violations() == []

    in_cluster(scene)


def test_start_that_comes_through_after_its_session_is_over_does_not_run_beside_the_recovered_one() -> None:
    async def scene(cluster: Cluster) -> None:
        came_out = queue_one_start(cluster, "n1", 20.0)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await until(
            lambda: (held := placement(cluster, "web")) is not None and held.phase is Phase.HELD, what="a claim"
        )
        cluster.hands.host("n1").cut()
        await until(lambda: len(cluster.where("web")) == 1, what="its recovery")
        there = cluster.where("web")
        cluster.hands.host("n1").heal()
        await until(came_out, what="the queued start", timeout_s=30.0)
        await asyncio.sleep(10.0)
        assert [host for host, _ in cluster.world.fabric.instances("web")] == there
        assert cluster.violations() == []

    in_cluster(scene)


def test_session_that_died_before_it_was_armed_does_not_block_new_vms_for_ever() -> None:
    async def scene(cluster: Cluster) -> None:
        host = cluster.hands.host("n3")
        host.power_off()
        await until(lambda: beat_of(cluster, "n3") is None, what="the eviction of n3", timeout_s=30.0)
        host.power_on()
        beat = await see_at_once(lambda: beat_of(cluster, "n3"))
        assert beat.armed is ArmedLevel.NONE
        host.stop_agent()
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await until(lambda: beat_of(cluster, "n3") is None, what="the eviction of n3's new session", timeout_s=60.0)
        await cluster.rest()
        held = placement(cluster, "web")
        assert held
        assert "n3 is offline and has not looked for it" in held.reason.text
        await cluster.hands.confirm_gone("web")
        await until(lambda: len(cluster.where("web")) == 1, what="the new vm runs", timeout_s=60.0)
        assert cluster.violations() == []

    in_cluster(scene)


def test_restart_asked_for_while_its_node_is_lost_ends_it_once() -> None:
    """The recovered guest has started anew already: it is not stopped a second time for the same request."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", stop_timeout_s=5)
        cluster.world.fabric.ignore_acpi("web")
        request = await cluster.hands.restart("web")
        await until(lambda: (held := placement(cluster, "web")) is not None and held.phase is Phase.STOPPING)
        cluster.hands.host("n1").power_off()
        await runs_on(cluster, "web", "n2", timeout_s=20.0)
        assert (await answered(cluster, request.id, timeout_s=30.0)).progress is Progress.DONE
        await cluster.rest()
        assert [fact.host for fact in starts(cluster, "web")] == ["n1", "n2"]

    in_cluster(scene)


def test_mass_loss_brake_lets_go_for_good_once_patience_is_over() -> None:
    """Three of five lost, and their switches broken too: once these are mended, nobody waits for the network again."""

    async def scene(cluster: Cluster) -> None:
        lost = ("n1", "n2", "n3")
        await add_running(cluster, "web", on=("n1", "n2", "n3", "n4", "n5"))
        only_by_power = Fencing(accept=(Proof.POWER_OFF_CONFIRMED, Proof.OPERATOR_CONFIRMED))
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, fencing=only_by_power))
        for node in lost:
            await cluster.hands.register(node, fence=True)
            cluster.hands.break_switch(node)
            cluster.hands.host(node).power_off()
        config = cluster.observer.snapshot.config
        await asyncio.sleep(config.clockwork.suspect_s + 4 * config.clockwork.dead_after_s + 5.0)
        assert cluster.where("web") == []
        for node in lost:
            cluster.hands.mend_switch(node)
        await runs_on(cluster, "web", "n4", timeout_s=config.fencing.retry_s + 3.0)

    in_cluster(scene, nodes=5)


def test_shorter_hold_set_while_an_agent_was_down_costs_no_guest() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.DEFAULT))
        await until(
            lambda: all((beat := beat_of(cluster, node)) and beat.hold_s == 10.0 for node in cluster.world.hosts),
            what="beats that promise the longer hold",
        )
        await add_running(cluster, "web")
        lines = len(cluster.world.fabric.history)
        cluster.hands.host("n1").stop_agent()
        await asyncio.sleep(0.5)
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED))
        await asyncio.sleep(4.5)  # longer than the new hold, shorter than the one that was promised
        cluster.hands.host("n1").start_agent()
        await until(lambda: (beat := beat_of(cluster, "n1")) is not None and beat.hold_s == 4.0, what="the new hold")
        await cluster.rest()
        assert len(cluster.world.fabric.history) == lines
        assert cluster.violations() == []

    in_cluster(scene)


def test_recovery_by_relocation_is_not_undone_by_failback() -> None:
    """Or a guest that fails on its preferred node goes to and fro between the two for ever."""

    async def scene(cluster: Cluster) -> int:
        await add_running(cluster, "web", recovery=Recovery.RELOCATE)
        crashes = 0
        for _ in range(600):
            if "n1" in cluster.where("web"):
                cluster.hands.crash("web")
                crashes += 1
            await asyncio.sleep(0.1)
        assert cluster.where("web") == ["n2"]
        return crashes

    assert in_cluster(scene) == 1


def test_vm_removed_in_mid_migration_arrives_and_runs_on() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.world.fabric.set_migration_time("web", 5.0)
        await cluster.hands.migrate("web", "n2")
        await asyncio.sleep(2.0)
        await cluster.hands.remove("web")
        await runs_on(cluster, "web", "n2", timeout_s=10.0)
        await until(lambda: placement(cluster, "web") is None, what="the claim is forgotten")
        await cluster.rest()
        assert cluster.world.fabric.instances("web") == [("n2", "running")]
        assert len(starts(cluster, "web")) == 2  # at home, and resumed there: never booted anew
        assert cluster.violations() == []

    in_cluster(scene)


def test_vm_removed_while_it_is_being_stopped_is_not_destroyed() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web", stop_timeout_s=5)
        cluster.world.fabric.ignore_acpi("web")
        await cluster.hands.stop("web")
        await asyncio.sleep(2.0)
        await cluster.hands.remove("web")
        await asyncio.sleep(30.0)
        assert cluster.where("web") == ["n1"]
        assert placement(cluster, "web") is None

    in_cluster(scene)


def test_migration_hands_over_live_between_nodes_whose_clocks_are_40_s_apart() -> None:
    async def scene(cluster: Cluster) -> None:
        late = cluster.hands.host("n1")
        late.stop_agent()
        await until(lambda: beat_of(cluster, "n1") is None, what="the eviction of n1", timeout_s=30.0)
        make_ports = late._ports

        def ports_of_a_late_clock(guard: object) -> Ports:
            return replace(make_ports(guard), clock=SkewedClock(cluster.world.clock, -40.0))  # type: ignore[arg-type]

        late._ports = ports_of_a_late_clock  # type: ignore[method-assign]
        late.start_agent()
        await cluster.rest()
        assert leader_of(cluster) != "n1"
        await add_running(cluster, "web")
        request = await cluster.hands.migrate("web", "n2")
        assert (await answered(cluster, request.id, timeout_s=20.0)).progress is Progress.DONE
        await cluster.rest()
        assert [fact.host for fact in starts(cluster, "web")] == ["n1", "n2"]
        assert cluster.violations() == []

    in_cluster(scene)


def test_migration_that_ended_on_another_node_is_not_called_done() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        request = await cluster.hands.migrate("web", "n2")
        await asyncio.sleep(0.2)
        cluster.hands.host("n2").stop_agent()
        await until(lambda: (held := placement(cluster, "web")) is not None and held.arrival, what="the hand-over")
        cluster.hands.host("n2").power_off()
        answer = await answered(cluster, request.id, timeout_s=60.0)
        assert cluster.where("web") not in ([], ["n2"])
        assert (answer.progress, "n2 could not take it" in answer.text) == (Progress.FAILED, True), answer.text

    in_cluster(scene)


def test_journal_lease_that_is_gone_stops_no_recovery() -> None:
    async def scene(cluster: Cluster) -> None:
        leader = leader_of(cluster)
        lost, heir = (node for node in ("n1", "n2", "n3") if node != leader)
        await add_running(cluster, "web", on=(lost, heir, leader))
        journal = cluster.world.etcd.list(cluster.world.keys.journal("")).items
        leases = {entry.lease for entry in journal}
        assert leases
        for lease in sorted(leases):
            cluster.world.etcd.expire(lease)
        cluster.hands.host(lost).power_off()
        await runs_on(cluster, "web", heir, timeout_s=20.0)
        assert leader_of(cluster) == leader

    in_cluster(scene)


def test_second_machine_of_the_same_name_is_refused_while_the_first_one_lives() -> None:
    """A cloned host: the same settings, another machine. It takes the name only after the first has been fenced."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        first = beat_of(cluster, "n1")
        clone = cluster.world.add_host("clone")
        clone.power_on()
        assert clone._identity
        clone._identity = replace(clone._identity, node=NodeName("n1"), boot_id="clone-1")
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert cluster.where("web") == ["n1"]
        now = beat_of(cluster, "n1")
        assert first
        assert now
        assert now.session == first.session
        assert clone.member
        assert clone.member.keeper.current is None
        cluster.hands.host("n1").power_off()
        await runs_on(cluster, "web", "n2", timeout_s=20.0)
        await until(lambda: clone.member is not None and clone.member.keeper.current is not None, what="it takes over")
        assert cluster.violations() == []

    in_cluster(scene)


def test_observation_whose_answer_was_lost_does_not_stay_for_ever() -> None:
    """It was written, the agent does not know it, and the guest is gone at the next look."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, desired=Desired.DISABLED)
        await cluster.rest()
        spec = cluster.observer.snapshot.vms[VmName("web")].spec
        assert spec
        key = cluster.world.keys.observation(NodeName("n1"), VmName("web"))
        cluster.world.fabric.virsh_start(spec.value.xml, "n1")
        await asyncio.sleep(cluster.world.fabric.timing.start_s)
        cluster.world.etcd.lose_answer("n1", done=True)
        await see_at_once(lambda: raw(cluster, key))
        assert cluster.world.etcd.take_lost_answer("n1") is None, "another write lost its answer"
        cluster.world.fabric.virsh_destroy("web")
        await until(lambda: raw(cluster, key) is None, what="the observation is taken away", timeout_s=30.0)
        await cluster.hands.enable("web")
        await until(lambda: len(cluster.where("web")) == 1, what="it starts", timeout_s=10.0)

    in_cluster(scene)
