"""Nodes that were fenced and are switched on again by the leader: `fencing.afterwards: power-on`."""

import json

from tests.sim.probes import add_running, given_to, raw, runs_on
from tests.sim.test_fencing import attempt_on, is_being_fenced, proof_of, said_to_be_fit_at, session_of
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName, SessionId
from vmha.model.keys import decode
from vmha.model.records import FenceStage, LeaderRecord
from vmha.model.settings import Afterwards, ClusterConfig, Fencing, Profile, Proof
from vmha.policy.members.power_on import MOST_TIMES
from vmha.sim.world.world import Switch

N1 = NodeName("n1")


async def web_on_n1(cluster: Cluster, afterwards: Afterwards = Afterwards.POWER_ON) -> SessionId:
    fencing = Fencing(afterwards=afterwards, retry_s=5.0)
    await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, fencing=fencing))
    await cluster.hands.register("n1", fence=True)
    await add_running(cluster, "web", on=("n1", "n2", "n3"))
    session = session_of(cluster, N1)
    assert session
    return session


async def fenced(cluster: Cluster) -> SessionId:
    """n1 stands still: nothing but its power switch can bring it back."""
    session = session_of(cluster, N1)
    assert session
    cluster.hands.host("n1").freeze()
    await until(lambda: proof_of(cluster, session) is not None, what="it is fenced", timeout_s=20.0)
    assert proof_of(cluster, session) is Proof.POWER_OFF_CONFIRMED
    return session


def stage(cluster: Cluster) -> FenceStage | None:
    attempt = attempt_on(cluster, N1)
    return attempt.stage if attempt else None


def told(cluster: Cluster, *kinds: str) -> list[str]:
    """What the journal says about power, in its order; all that was ever written there."""
    entries = {
        written.key: json.loads(written.value)
        for line in cluster.world.record.catch_up().lines
        for written in line.written
        if written.key.startswith("journal/") and written.value
    }
    return [entry["text"] for entry in entries.values() if entry["kind"] in kinds]


def test_fenced_node_comes_back_by_itself_and_gets_its_vm_back() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await web_on_n1(cluster)
        await fenced(cluster)
        await runs_on(cluster, "web", "n2", timeout_s=10.0)  # it waits for no node that is to boot
        await until(lambda: session_of(cluster, N1) not in (None, first), what="it is back", timeout_s=10.0)
        second = session_of(cluster, N1)
        await runs_on(cluster, "web", "n1", timeout_s=60.0)
        await cluster.rest()
        fit_at = said_to_be_fit_at(cluster, second)
        assert [at for at in given_to(cluster, "web", "n1") if at > fit_at]
        assert (cluster.hands.host("n1").boots, session_of(cluster, N1)) == (2, second)
        assert told(cluster, "switched-on") == ["n1 is switched on again by fence_sim: power is on"]
        assert attempt_on(cluster, N1) is None
        assert cluster.violations() == []

    in_cluster(scene)


def test_fenced_node_stays_off_where_nothing_else_is_said() -> None:
    async def scene(cluster: Cluster) -> None:
        await web_on_n1(cluster, Afterwards.STAY_OFF)
        await fenced(cluster)
        await runs_on(cluster, "web", "n2", timeout_s=10.0)
        await cluster.rest()
        assert not cluster.hands.host("n1").has_power

    in_cluster(scene)


def test_new_leader_switches_on_what_the_old_one_has_fenced() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await web_on_n1(cluster)
        cluster.hands.host("n1").freeze()
        await until(lambda: is_being_fenced(cluster, N1), what="its power is being cut", timeout_s=20.0)
        cluster.world.switch_takes_s[N1] = 60.0  # from the next switching on
        await until(lambda: stage(cluster) is FenceStage.SWITCHING_ON, what="it is to be switched on", timeout_s=10.0)
        value = raw(cluster, cluster.world.keys.leader)
        assert value
        leader = decode(LeaderRecord, value, where="leader").node
        cluster.world.switch_takes_s[N1] = 0.3
        cluster.hands.host(leader).stop_agent()
        await until(lambda: session_of(cluster, N1) not in (None, first), what="it is back", timeout_s=30.0)
        cluster.hands.host(leader).start_agent()
        await cluster.rest()
        assert cluster.hands.host("n1").boots == 2
        assert cluster.violations() == []

    in_cluster(scene)


def test_switch_that_does_not_switch_on_is_asked_again_and_it_is_said_once() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await web_on_n1(cluster)
        await fenced(cluster)
        cluster.hands.break_switch("n1")

        def has_failed_often() -> bool:
            attempt = attempt_on(cluster, N1)
            return attempt is not None and attempt.stage is FenceStage.NOT_ON and attempt.attempts >= 4

        await until(has_failed_often, what="four attempts", timeout_s=60.0)
        attempt = attempt_on(cluster, N1)
        assert attempt
        assert attempt.message == "the power switch does not answer"
        assert 30.0 < attempt.next_at - cluster.world.clock.wall() <= 40.0  # 5, 10, 20, and now 40 s
        assert told(cluster, "not-switched-on") == ["n1 was not switched on again: the power switch does not answer"]
        await runs_on(cluster, "web", "n2", timeout_s=1.0)
        cluster.hands.mend_switch("n1")
        await until(lambda: session_of(cluster, N1) not in (None, first), what="it is back", timeout_s=60.0)
        await cluster.rest()
        assert cluster.where("web") == ["n1"]
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_is_fenced_again_and_again_stays_off() -> None:
    async def scene(cluster: Cluster) -> None:
        await web_on_n1(cluster)
        for _ in range(MOST_TIMES):
            await fenced(cluster)
            await runs_on(cluster, "web", "n1", timeout_s=60.0)
        await fenced(cluster)
        await until(lambda: stage(cluster) is FenceStage.LEFT_OFF, what="it is left off", timeout_s=10.0)
        await cluster.rest()
        host = cluster.hands.host("n1")
        assert (host.has_power, host.boots) == (False, 1 + MOST_TIMES)
        assert cluster.where("web") == ["n2"]
        assert told(cluster, "left-off") == [
            "n1 stays off: it was fenced 4 times within 60 minutes; see to it, and switch it on"
        ]
        host.power_on()
        await runs_on(cluster, "web", "n1", timeout_s=60.0)
        assert attempt_on(cluster, N1) is None
        assert cluster.violations() == []

    in_cluster(scene)


def test_maintenance_that_is_asked_for_while_the_switch_is_at_work_is_in_time() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await web_on_n1(cluster)
        await fenced(cluster)
        cluster.world.switch_takes_s[N1] = 5.0
        await until(lambda: stage(cluster) is FenceStage.SWITCHING_ON, what="it is to be switched on", timeout_s=10.0)
        cluster.world.switch_takes_s[N1] = 0.3
        await cluster.hands.drain("n1")
        await until(lambda: stage(cluster) is FenceStage.OFF, what="it is called off", timeout_s=10.0)
        await cluster.rest()
        assert not cluster.hands.host("n1").has_power
        assert told(cluster, "switched-on", "not-switched-on") == []
        await cluster.hands.undrain("n1")
        await until(lambda: session_of(cluster, N1) not in (None, first), what="it is back", timeout_s=60.0)
        await cluster.rest()
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_that_a_person_confirms_to_be_off_stays_off() -> None:
    async def scene(cluster: Cluster) -> None:
        await web_on_n1(cluster)
        await fenced(cluster)
        cluster.hands.break_switch("n1")
        await until(lambda: stage(cluster) is FenceStage.NOT_ON, what="it is not switched on", timeout_s=10.0)
        await cluster.hands.confirm_off("n1")
        await until(lambda: stage(cluster) is FenceStage.LEFT_OFF, what="it is left off", timeout_s=10.0)
        cluster.hands.mend_switch("n1")
        await cluster.rest()
        assert not cluster.hands.host("n1").has_power
        assert cluster.where("web") == ["n2"]
        assert cluster.violations() == []

    in_cluster(scene)


def test_switch_whose_answer_is_lost_has_done_it_all_the_same() -> None:
    async def scene(cluster: Cluster) -> None:
        first = await web_on_n1(cluster)
        await fenced(cluster)
        cluster.world.switches[N1] = Switch.LOSES_ANSWER
        await until(lambda: session_of(cluster, N1) not in (None, first), what="it is back", timeout_s=10.0)
        await cluster.rest()
        assert attempt_on(cluster, N1) is None
        assert cluster.hands.host("n1").boots == 2
        assert cluster.where("web") == ["n1"]
        assert cluster.violations() == []

    in_cluster(scene)
