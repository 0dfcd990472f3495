"""What hands, daemons and fate do beside the cluster, where each of these once went wrong."""

from dataclasses import replace

import pytest

from tests.sim.probes import add_running, put, raw
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.agent.claims import Lost
from vmha.fencing.deadline import EXPIRED
from vmha.hypervisor.port import DomainState
from vmha.model.errors import Refused
from vmha.model.ids import Epoch, NodeName, Revision, VmName
from vmha.model.keys import decode
from vmha.model.records import Observation, Phase, Placement, Reason, SeenState, Stored, Verb
from vmha.model.settings import ClusterConfig, GateMode, Profile
from vmha.model.vm import AfterShutdown, Desired
from vmha.operator.requests import submit
from vmha.policy.at_node.reconcile import Action
from vmha.sim.journal import read_journal
from vmha.sim.world.hands import domain_xml

WITHOUT_UUID = "<domain type='qemu'><name>web</name><memory unit='MiB'>1024</memory><os><type>hvm</type></os></domain>"


async def runs_on(cluster: Cluster, node: str) -> None:
    await until(lambda: cluster.where("web") == [node], what=f"a hand has started it on {node}")


def test_vm_added_as_wanted_running_is_adopted_where_a_hand_had_started_it() -> None:
    """Even when it is added in the same instant in which the nodes learn of it: nobody starts it before all looked."""

    async def scene(cluster: Cluster) -> list[str]:
        cluster.hands.virsh_start(domain_xml("web", memory_mib=1024, vcpus=1), "n3")
        await runs_on(cluster, "n3")
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        assert cluster.violations() == []
        return cluster.where("web")

    assert in_cluster(scene) == ["n3"]


def test_end_of_a_guest_that_is_seen_before_it_is_told_is_put_on_record_as_what_it_was() -> None:
    async def scene(cluster: Cluster) -> list[str]:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        (here,) = cluster.where("web")
        fabric = cluster.world.fabric
        fabric.timing = replace(fabric.timing, told_s=3.0)

        def stopped() -> list[str]:
            lines = read_journal(cluster.world.record.catch_up().lines)
            return [line.text for line in lines if line.kind == "stopped"]

        cluster.hands.virsh_destroy("web")
        await cluster.world.hosts[NodeName(here)].member.agent.inventory.refresh()  # type: ignore[union-attr]
        await until(lambda: bool(stopped()), what="its end to be on record", timeout_s=30.0)
        await cluster.rest()
        assert cluster.violations() == []
        return stopped()

    told = in_cluster(scene)
    assert len(told) == 1
    assert "somebody ended it by hand" in told[0]


def test_vm_started_by_hand_from_xml_without_a_uuid_is_known_by_its_name() -> None:
    """libvirt draws a new uuid for each start of such XML; the disks are the same."""

    async def scene(cluster: Cluster) -> list[str]:
        cluster.world.fabric.virsh_start(WITHOUT_UUID, "n3")
        await runs_on(cluster, "n3")
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        assert cluster.violations() == []
        return cluster.where("web")

    assert in_cluster(scene) == ["n3"]


def test_vm_added_without_start_is_found_running_and_wanted_running_from_then_on() -> None:
    async def scene(cluster: Cluster) -> Desired:
        cluster.hands.virsh_start(domain_xml("web", memory_mib=1024, vcpus=1), "n2")
        await runs_on(cluster, "n2")
        await cluster.hands.add("web", memory_mib=1024, vcpus=1)
        await cluster.rest()
        spec = cluster.observer.snapshot.vms["web"].spec  # type: ignore[index]
        assert spec
        return spec.value.desired

    assert in_cluster(scene) is Desired.RUNNING


def test_second_copy_started_by_hand_is_refused_by_the_start_gate() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        other = "n2" if cluster.where("web") == ["n1"] else "n1"
        with pytest.raises(Refused, match="managed by vmha"):
            cluster.hands.virsh_start(domain_xml("web", memory_mib=1024, vcpus=1), other)

    in_cluster(scene)


def test_migration_by_hand_is_refused_under_a_strict_gate_and_adopted_under_an_ordinary_one() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.STRICT))
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        home = cluster.where("web")[0]
        other = next(name for name in cluster.world.hosts if name != home)
        with pytest.raises(Refused, match="not expected here by migration"):
            cluster.hands.virsh_migrate("web", other)
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED))
        await cluster.rest()
        cluster.hands.virsh_migrate("web", other)
        await cluster.rest()
        assert cluster.where("web") == [other]
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_that_a_hand_lets_stand_and_go_on_again_is_left_alone_and_told_of() -> None:
    async def scene(cluster: Cluster) -> list[str]:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        home = cluster.where("web")
        cluster.hands.virsh_suspend("web")
        await cluster.rest()
        cluster.hands.virsh_resume("web")
        await cluster.rest()
        assert cluster.where("web") == home
        assert cluster.violations() == []
        return [
            line.kind
            for line in read_journal(cluster.world.record.catch_up().lines)
            if line.kind in ("guest-paused", "guest-resumed")
        ]

    assert in_cluster(scene) == ["guest-paused", "guest-resumed"]


def test_agent_that_restarts_while_libvirtd_is_down_keeps_its_guests_alive() -> None:
    """Its beats must go on: without them the guard would end guests that nothing is wrong with."""

    async def scene(cluster: Cluster) -> int:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        host = cluster.hands.host(cluster.where("web")[0])
        lines = len(cluster.world.fabric.history)
        host.stop_libvirtd()
        host.stop_agent()
        host.start_agent()
        beats: set[Revision] = set()

        def has_beaten_on() -> bool:
            beat = cluster.observer.snapshot.nodes[NodeName(host.name)].beat
            beats.update([beat.modified] if beat else [])
            return len(beats) > 15  # longer than the guard's hold

        await until(has_beaten_on, what="its beats to go on", timeout_s=60.0)
        host.start_libvirtd()
        await cluster.rest()
        assert cluster.where("web") == [host.name]
        return len(cluster.world.fabric.history) - lines

    assert in_cluster(scene) == 0


def test_host_that_left_in_good_order_is_offline_at_once_and_never_fenced() -> None:
    async def scene(cluster: Cluster) -> tuple[object, int]:
        cluster.hands.shutdown("n2")

        def has_left() -> bool:
            return cluster.observer.snapshot.nodes[NodeName("n2")].beat is None

        await until(has_left, what="it to have left", timeout_s=1.0)
        await cluster.rest()
        return cluster.observer.snapshot.nodes[NodeName("n2")].beat, len(cluster.observer.snapshot.fenced)

    assert in_cluster(scene) == (None, 0)


def test_host_leaves_in_the_end_although_the_store_is_away_when_it_first_tries() -> None:
    async def scene(cluster: Cluster) -> object:
        member = cluster.hands.host("n2").member
        assert member
        cluster.world.etcd.stop()
        cluster.hands.shutdown("n2")
        await until(lambda: member.agent.account.is_leaving, what="it tries to leave")
        cluster.world.etcd.start()
        await cluster.rest()
        assert not cluster.hands.host("n2").has_power
        return cluster.observer.snapshot.nodes[NodeName("n2")].beat

    assert in_cluster(scene) is None


def test_agent_claims_nothing_that_names_another_node() -> None:
    """A record may change between the decision to start a vm and the start: then it may be another node's."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, desired=Desired.STOPPED)
        await cluster.rest()
        member = cluster.hands.host("n1").member
        assert member
        view = cluster.observer.snapshot.vms["web"]  # type: ignore[index]
        assert view.spec
        anothers = Placement(
            vm=view.name,
            epoch=Epoch(1),
            phase=Phase.ASSIGNED,
            node=NodeName("n2"),
            reason=Reason(rule="", text=""),
            since=0.0,
        )
        with pytest.raises(Lost, match="it is n2's"):
            await member.agent._worker.do(
                Action.START, Stored(anothers, Revision(0), Revision(0)), view.name, view.spec.value
            )

    in_cluster(scene)


@pytest.mark.parametrize("is_agent_new", [False, True])
def test_panicked_guest_that_is_cleared_away_has_crashed_and_was_not_ended_by_hand(is_agent_new: bool) -> None:
    """Kept by on_crash=preserve it is ours to end; whoever wants a guest left down that a hand ended, wants this up."""

    async def scene(cluster: Cluster) -> list[str]:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, on_outside_stop=AfterShutdown.STOP)
        await cluster.rest()
        home = cluster.hands.host(cluster.where("web")[0])
        if is_agent_new:
            home.stop_agent()
        cluster.world.fabric.panic("web")
        if is_agent_new:
            stands = [(home.name, DomainState.CRASHED)]
            await until(lambda: cluster.world.fabric.instances("web") == stands, what="what is left of it stands")
            home.start_agent()
        await cluster.rest()
        return cluster.where("web")

    assert len(in_cluster(scene)) == 1


def test_departed_vm_can_be_confirmed_gone_although_other_requests_came_first() -> None:
    async def scene(cluster: Cluster) -> list[str]:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        cluster.hands.virsh_migrate("web", "elsewhere")
        await cluster.rest()
        cluster.world.fabric.virsh_destroy("web", "elsewhere")
        earlier = await submit(cluster.hands.operator, Verb.RESTART, vm="web")
        await cluster.hands.confirm_gone("web")
        await cluster.rest()
        assert "departed" in cluster.observer.snapshot.outcomes[earlier.id].text
        return cluster.where("web")

    assert len(in_cluster(scene)) == 1


def test_guest_that_keeps_crashing_is_not_restarted_in_a_hot_loop() -> None:
    async def scene(cluster: Cluster) -> int:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        starts = len([fact for fact in cluster.world.fabric.history if fact.deed == "runs"])
        over_at = cluster.world.clock.now() + 60.0

        def is_due() -> bool:
            return bool(cluster.where("web")) or cluster.world.clock.now() >= over_at

        while cluster.world.clock.now() < over_at:
            await until(is_due, what="it runs again, or the minute is over", timeout_s=90.0)
            if cluster.where("web"):
                cluster.hands.crash("web")
        return len([fact for fact in cluster.world.fabric.history if fact.deed == "runs"]) - starts

    assert 3 <= in_cluster(scene) <= 10


def test_leader_does_not_plan_for_beats_that_only_count_on() -> None:
    async def scene(cluster: Cluster) -> int:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        leader = next(
            host.member.leader for host in cluster.world.hosts.values() if host.member and host.member.leader.term
        )
        plans = 0
        think = leader._think

        def counting(*args: object) -> object:
            nonlocal plans
            plans += 1
            return think(*args)  # type: ignore[arg-type]

        leader._think = counting  # type: ignore[assignment]
        last = beats_of(cluster) + BEATS
        await until(lambda: beats_of(cluster) >= last, what="a minute of beats", timeout_s=120.0)
        return plans

    assert in_cluster(scene) < BEATS * 3 / 4  # three nodes beat


BEATS = 120
"""Of one node: a minute's."""


def beats_of(cluster: Cluster) -> int:
    beat = cluster.observer.snapshot.nodes[NodeName("n1")].beat
    assert beat
    return beat.value.count


def test_guest_taken_away_by_hand_while_the_store_was_down_for_long_is_not_started_by_the_next_session() -> None:
    """The session that held it is over; that it does not run there any more is no proof that it runs nowhere."""

    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        (home,) = cluster.where("web")
        cluster.world.etcd.stop()
        cluster.hands.virsh_migrate("web", "outside")
        guard = cluster.hands.host(home).guard
        assert guard
        await until(lambda: guard.state in EXPIRED, what="its session is over", timeout_s=60.0)
        cluster.world.etcd.start()
        await cluster.rest()
        assert cluster.where("web") == ["outside"]
        placement = cluster.observer.snapshot.vms["web"].placement  # type: ignore[index]
        assert placement is not None
        assert (placement.value.phase, placement.value.node) == (Phase.DEPARTED, home)
        assert cluster.violations() == []

    in_cluster(scene)


def test_observation_that_a_late_write_has_put_back_is_written_anew() -> None:
    """A write that was given up for lost may be committed behind the one that came after it."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        key = cluster.world.keys.observation(NodeName("n1"), VmName("web"))
        now = raw(cluster, key)
        assert now
        late = replace(decode(Observation, now, where=key), state=SeenState.INCOMING)
        await put(cluster, key, late)
        await until(lambda: is_running(cluster, key), what="it to be written anew", timeout_s=15.0)
        await cluster.rest()
        assert cluster.where("web") == ["n1"]
        assert cluster.violations() == []

    in_cluster(scene)


def test_observation_of_a_guest_that_is_gone_is_taken_away_when_a_late_write_has_put_it_back() -> None:
    """A vm that has left would be shown as running twice for good."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        old = cluster.world.keys.observation(NodeName("n1"), VmName("web"))
        late = raw(cluster, old)
        assert late
        await cluster.hands.migrate("web", "n2")
        await until(lambda: raw(cluster, old) is None, what="it to have left", timeout_s=30.0)
        await cluster.rest()
        await put(cluster, old, decode(Observation, late, where=old))
        await until(lambda: raw(cluster, old) is None, what="it to be taken away again", timeout_s=15.0)
        await cluster.rest()
        assert cluster.where("web") == ["n2"]
        assert cluster.violations() == []

    in_cluster(scene)


def is_running(cluster: Cluster, key: str) -> bool:
    value = raw(cluster, key)
    return value is not None and decode(Observation, value, where=key).state is SeenState.RUNNING
