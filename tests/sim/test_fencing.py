"""Power switches that are slow, broken or lie, and nodes that come back while they are being fenced."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.sim.probes import add_running, given_to, placement, raw, runs_on
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.fencing.power import Halt, PowerOff
from vmha.hypervisor.twin.fabric_state import Deed
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import decode
from vmha.model.records import BeatRecord, FenceAttempt, FenceRecord, FenceStage, Phase
from vmha.model.settings import ClusterConfig, Fencing, Profile, Proof
from vmha.model.vm import FenceDeviceSpec
from vmha.sim.world.world import Switch
from vmha.store.port import Put

N1, N2 = NodeName("n1"), NodeName("n2")
SUSPECT_S = ClusterConfig(profile=Profile.TUNED).clockwork.suspect_s
DEAD_AFTER_S = ClusterConfig(profile=Profile.TUNED).clockwork.dead_after_s


def session_of(cluster: Cluster, node: NodeName) -> SessionId | None:
    value = raw(cluster, cluster.world.keys.beat(node))
    return decode(BeatRecord, value, where=node).session if value else None


def said_to_be_fit_at(cluster: Cluster, session: SessionId | None) -> float:
    """When n1 put on record, in this session, that it may receive vms, behind an armed guard."""
    for line in cluster.world.record.catch_up().lines:
        for written in line.written:
            if written.key == "nodes/n1/status" and written.value:
                said = written.read()
                if (said["session"], said["eligible"]) == (session, True) and said["armed"] != "none":
                    return line.at_s
    raise AssertionError(f"session {session} never said so")


def proof_of(cluster: Cluster, session: SessionId | None) -> Proof | None:
    assert session
    value = raw(cluster, cluster.world.keys.fencing(session))
    return decode(FenceRecord, value, where=session).proof if value else None


def attempt_on(cluster: Cluster, node: NodeName) -> FenceAttempt | None:
    value = raw(cluster, cluster.world.keys.fence_attempt(node))
    return decode(FenceAttempt, value, where=node) if value else None


def is_being_fenced(cluster: Cluster, node: NodeName) -> bool:
    attempt = attempt_on(cluster, node)
    return attempt is not None and attempt.stage is FenceStage.CUTTING


async def accept(cluster: Cluster, *proofs: Proof) -> None:
    fencing = Fencing(accept=(*proofs, Proof.OPERATOR_CONFIRMED))
    await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, fencing=fencing))


async def web_on_n1_with_a_switch(cluster: Cluster) -> SessionId:
    await cluster.hands.register("n1", fence=True)
    await add_running(cluster, "web", on=("n1", "n2", "n3"))
    session = session_of(cluster, N1)
    assert session
    return session


def test_node_that_beats_again_before_the_switch_has_acted_keeps_its_power_and_its_vm() -> None:
    async def scene(cluster: Cluster) -> None:
        session = await web_on_n1_with_a_switch(cluster)
        cluster.world.switch_takes_s[N1] = 2.0
        host = cluster.hands.host("n1")
        host.cut()
        await until(lambda: is_being_fenced(cluster, N1), what="the power switch is asked")
        host.heal()
        await until(lambda: attempt_on(cluster, N1) is None, what="the fencing is called off", timeout_s=3.0)
        await cluster.rest()
        assert host.has_power
        assert session_of(cluster, N1) == session
        assert cluster.where("web") == ["n1"]
        assert cluster.violations() == []

    in_cluster(scene)


async def is_called_off(cluster: Cluster, session: object) -> None:
    """Nothing is left of the attempt, and the node goes on in its session."""
    await until(lambda: attempt_on(cluster, N1) is None, what="the fencing is called off", timeout_s=30.0)
    await cluster.rest()
    assert session_of(cluster, N1) == session
    assert cluster.where("web") == ["n1"]
    assert cluster.violations() == []


def test_node_that_beats_again_when_the_leader_that_fenced_it_has_ended_is_not_said_to_be_fenced() -> None:
    async def scene(cluster: Cluster) -> None:
        session = await web_on_n1_with_a_switch(cluster)
        cluster.world.switch_takes_s[N1] = 2.0
        host = cluster.hands.host("n1")
        host.cut()
        await until(lambda: is_being_fenced(cluster, N1), what="the power switch is asked")
        attempt = attempt_on(cluster, N1)
        assert attempt
        cluster.hands.host(attempt.by).kill_agent()
        host.heal()
        await is_called_off(cluster, session)

    in_cluster(scene)


def test_node_that_beats_again_when_its_fence_agent_has_failed_is_not_said_to_be_fenced() -> None:
    async def scene(cluster: Cluster) -> None:
        session = await web_on_n1_with_a_switch(cluster)
        cluster.world.broken_switches.add(N1)
        host = cluster.hands.host("n1")
        host.cut()

        def has_failed() -> bool:
            attempt = attempt_on(cluster, N1)
            return attempt is not None and attempt.stage is FenceStage.FAILED

        await until(has_failed, what="the power switch has failed")
        host.heal()
        await is_called_off(cluster, session)

    in_cluster(scene)


def test_switch_that_says_off_of_a_node_that_beats_on_is_not_believed() -> None:
    async def scene(cluster: Cluster) -> None:
        session = await web_on_n1_with_a_switch(cluster)
        cluster.world.lying_switches.add(N1)
        host = cluster.hands.host("n1")
        cluster.world.switch_answers_after_s[N1] = 1.0  # it is still at it when the node is heard of again
        host.cut()
        await until(lambda: is_being_fenced(cluster, N1), what="the power switch is asked")
        await asyncio.sleep(0.4)  # the lie is told by now, but not heard
        host.heal()
        await cluster.rest()
        assert proof_of(cluster, session) is None
        assert session_of(cluster, N1) == session
        assert cluster.where("web") == ["n1"]
        assert cluster.violations() == []

    in_cluster(scene)


def test_beat_committed_after_the_power_was_cut_refutes_whoever_says_that_it_is_off() -> None:
    """The last line: the store itself compares the beat, before anybody has heard of it."""

    async def scene(cluster: Cluster) -> None:
        session = await web_on_n1_with_a_switch(cluster)
        world, key = cluster.world, cluster.world.keys.beat(N1)
        obstacles: list[str] = []
        asked: list[Halt] = []

        async def lie(node: NodeName, devices: Sequence[FenceDeviceSpec], *, halt: Halt) -> PowerOff:
            obstacles.append(await halt())
            asked.append(halt)
            if len(asked) > 1:
                return PowerOff(confirmed=False, how="fence_liar: no answer")
            beat = world.etcd.get(key)
            assert beat
            world.etcd.txn([], [Put(key, beat.value)])
            return PowerOff(confirmed=True, how="fence_liar: power was on, is off")

        world.power.power_off = lie  # type: ignore[method-assign]
        cluster.hands.host("n1").cut()
        await until(lambda: bool(asked), what="the power switch is asked")
        obstacles.append(await asked[0]())
        assert obstacles == ["", "n1 has committed a beat since"]
        await asyncio.sleep(1.0)
        assert proof_of(cluster, session) is None
        assert session_of(cluster, N1) == session
        await runs_on(cluster, "web", "n2", timeout_s=DEAD_AFTER_S + 3.0)  # in its own time
        assert proof_of(cluster, session) is Proof.GUARD_ELAPSED
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_boots_while_its_switch_is_still_answering_is_neither_evicted_nor_cut_again() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await web_on_n1_with_a_switch(cluster)
        cluster.world.switch_answers_after_s[N1] = 5.0
        host = cluster.hands.host("n1")
        host.cut()
        await until(lambda: not host.has_power, what="the power is cut")
        host.heal()
        host.power_on()
        await until(lambda: session_of(cluster, N1) not in (None, first), what="a new session", timeout_s=5.0)
        second = session_of(cluster, N1)
        await asyncio.sleep(10.0)
        await cluster.rest()
        assert (host.boots, host.has_power) == (2, True)
        assert session_of(cluster, N1) == second
        assert proof_of(cluster, first) is Proof.RELEASED
        assert proof_of(cluster, second) is None
        assert len(cluster.where("web")) == 1
        assert cluster.violations() == []

    in_cluster(scene)


def test_fence_agent_that_hangs_keeps_no_other_proof_waiting_and_does_not_hit_the_node_when_it_is_back() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await web_on_n1_with_a_switch(cluster)
        cluster.world.switch_takes_s[N1] = 120.0
        host = cluster.hands.host("n1")
        host.power_off()
        await runs_on(cluster, "web", "n2", timeout_s=DEAD_AFTER_S + 3.0)
        assert proof_of(cluster, first) is Proof.GUARD_ELAPSED
        assert attempt_on(cluster, N1) is None
        host.power_on()
        await asyncio.sleep(150.0)
        await cluster.rest()
        assert (host.boots, host.has_power) == (2, True)
        assert cluster.where("web") == ["n1"]  # it came home
        assert cluster.violations() == []

    in_cluster(scene)


def test_fencing_that_fails_is_retried_for_ever_and_says_when_next() -> None:
    async def scene(cluster: Cluster) -> None:
        await accept(cluster, Proof.POWER_OFF_CONFIRMED)
        session = await web_on_n1_with_a_switch(cluster)
        cluster.hands.break_switch("n1")
        cluster.hands.host("n1").power_off()
        began_at = cluster.world.clock.now()

        def has_failed_often() -> bool:
            attempt = attempt_on(cluster, N1)
            return attempt is not None and attempt.stage is FenceStage.FAILED and attempt.attempts >= 20

        await until(has_failed_often, what="twenty attempts", timeout_s=200.0)
        attempt = attempt_on(cluster, N1)
        assert attempt
        assert attempt.session == session
        assert attempt.message == "the power switch does not answer"
        assert 0 < attempt.next_at - cluster.world.clock.wall() <= 5.0
        assert cluster.world.clock.now() - began_at >= 19 * 5.0  # it takes its time
        told = [line for line in cluster.world.record.catch_up().lines for w in line.written if "journal" in w.key]
        assert len(told) < 40  # the same failure again is no news
        assert proof_of(cluster, session) is None
        assert cluster.where("web") == []
        cluster.hands.mend_switch("n1")
        await runs_on(cluster, "web", "n2", timeout_s=10.0)
        assert proof_of(cluster, session) is Proof.POWER_OFF_CONFIRMED
        assert attempt_on(cluster, N1) is None

    in_cluster(scene)


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (Switch.BABBLES, "exit code 42: \ufffd\ufffd~ (action off of n1, expected exit code: 0)"),
        (Switch.MISSING, "no such program in PATH (action off of n1)"),
    ],
)
def test_fence_agent_that_prints_garbage_or_is_missing_recovers_nothing_without_a_proof(
    trouble: Switch, says: str
) -> None:
    """Nothing but the switch's word is accepted here: as long as it gives none, the vm waits, and is told why."""

    async def scene(cluster: Cluster) -> None:
        await accept(cluster, Proof.POWER_OFF_CONFIRMED)
        session = await web_on_n1_with_a_switch(cluster)
        cluster.world.switches[N1] = trouble
        cluster.hands.host("n1").power_off()

        def is_told() -> bool:
            attempt = attempt_on(cluster, N1)
            return attempt is not None and attempt.stage is FenceStage.FAILED and says in attempt.message

        await until(is_told, what="the failure is told", timeout_s=30.0)
        await asyncio.sleep(5 * DEAD_AFTER_S)
        assert is_told() or is_being_fenced(cluster, N1)
        assert proof_of(cluster, session) is None
        assert cluster.where("web") == []
        cluster.hands.mend_switch("n1")
        await runs_on(cluster, "web", "n2", timeout_s=10.0)
        assert proof_of(cluster, session) is Proof.POWER_OFF_CONFIRMED
        assert cluster.violations() == []

    in_cluster(scene)


def test_new_leader_goes_on_fencing_where_the_old_one_was_lost() -> None:
    async def scene(cluster: Cluster) -> None:
        await accept(cluster, Proof.POWER_OFF_CONFIRMED)
        for node in ("n1", "n2", "n3"):
            await cluster.hands.register(node, fence=True)
        await cluster.hands.configure(
            ClusterConfig(
                profile=Profile.TUNED,
                fencing=Fencing(accept=(Proof.POWER_OFF_CONFIRMED, Proof.OPERATOR_CONFIRMED), mass_loss_brake=False),
            )
        )
        await add_running(cluster, "web", on=("n1", "n2", "n3"))
        session = session_of(cluster, N1)
        cluster.world.switch_takes_s[N1] = 30.0
        cluster.hands.host("n1").power_off()
        await until(lambda: is_being_fenced(cluster, N1), what="a fence agent at work", timeout_s=20.0)
        attempt = attempt_on(cluster, N1)
        assert attempt
        cluster.world.switch_takes_s[N1] = 0.3
        cluster.hands.host(attempt.by).stop_agent()
        await until(lambda: proof_of(cluster, session) is Proof.POWER_OFF_CONFIRMED, what="the proof", timeout_s=30.0)
        cluster.hands.host(attempt.by).start_agent()
        await until(lambda: len(cluster.where("web")) == 1, what="web runs")
        assert cluster.violations() == []

    in_cluster(scene)


def test_several_nodes_are_fenced_at_the_same_time() -> None:
    async def scene(cluster: Cluster) -> None:
        await accept(cluster, Proof.POWER_OFF_CONFIRMED)
        for node in (N1, N2):
            await cluster.hands.register(node, fence=True)
            cluster.world.switch_takes_s[node] = 20.0
        await add_running(cluster, "web", on=("n1", "n3"))
        await cluster.hands.add("db", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        await cluster.hands.migrate("db", "n2")
        await runs_on(cluster, "db", "n2", timeout_s=10.0)
        for node in (N1, N2):
            cluster.hands.host(node).power_off()
        await until(
            lambda: len(cluster.where("web")) == len(cluster.where("db")) == 1,
            what="both are recovered in the time of one",
            timeout_s=35.0,
        )
        assert cluster.violations() == []

    in_cluster(scene, nodes=5)


def test_node_fenced_and_quickly_rebooted_gets_nothing_before_its_guard_and_inventory_are_there() -> None:
    """The order that makes Proxmox HA run a vm twice: fence, quick reboot, failback, isolated once more."""

    async def scene(cluster: Cluster) -> None:
        first = await web_on_n1_with_a_switch(cluster)
        host = cluster.hands.host("n1")
        host.cut()  # isolated: its power is cut, and it boots at once, within the life of its old session
        await until(lambda: not host.has_power, what="the power is cut")
        host.heal()
        host.power_on()
        await until(lambda: session_of(cluster, N1) not in (None, first), what="a new session", timeout_s=5.0)
        began = session_of(cluster, N1)
        booted_at = asyncio.get_running_loop().time()
        await runs_on(cluster, "web", "n1", timeout_s=60.0)  # it failed over, and came home
        assert session_of(cluster, N1) == began
        fit_at = said_to_be_fit_at(cluster, began)
        assert [at for at in given_to(cluster, "web", "n1") if at > booted_at]  # in this session, and
        assert [at for at in given_to(cluster, "web", "n1") if booted_at < at <= fit_at] == []  # not too early
        cluster.hands.break_switch("n1")  # nobody helps from outside this time: the guard must have been armed
        host.cut()
        await runs_on(cluster, "web", "n2", timeout_s=DEAD_AFTER_S + 5.0)
        ended = [fact for fact in cluster.world.fabric.history if fact.vm == "web" and fact.deed is not Deed.RUNS]
        assert ended
        host.heal()
        await cluster.rest()
        assert cluster.violations() == []
        assert len(cluster.where("web")) == 1
        holder = placement(cluster, "web")
        assert holder
        assert holder.phase is Phase.HELD

    in_cluster(scene)
