"""Probes at work: what becomes of a guest that runs and does not answer."""

import asyncio

from tests.support.worlds import Cluster, in_cluster
from vmha.model.health import Probe
from vmha.model.ids import VmName
from vmha.model.records import Health, HealthState, Phase, RunEnd
from vmha.model.relations import Dependency
from vmha.policy.plan import judge_all
from vmha.policy.telling.explain import VmState, summarize

PROBE = {"interval_s": 1.0, "timeout_s": 0.5, "start_timeout_s": 10.0}


def probe(**fields: object) -> Probe:
    return Probe.model_validate({"tcp": "guest:5432", "name": "db", **PROBE, **fields})


async def add(cluster: Cluster, vm: str = "web", **fields: object) -> None:
    await cluster.hands.add(vm, memory_mib=1024, vcpus=1, start=True, **fields)


def health(cluster: Cluster, vm: str = "web") -> Health | None:
    view = cluster.observer.snapshot.vms[VmName(vm)]
    return next((seen.health for seen in view.seen.values()), None)


def state(cluster: Cluster, vm: str = "web") -> VmState:
    snapshot = cluster.observer.snapshot
    verdicts = judge_all(snapshot, cluster.observer.moment())
    return summarize(snapshot.vms[VmName(vm)], snapshot, verdicts).state


def boots(cluster: Cluster, vm: str = "web") -> list[str]:
    """Where it was started, one after the other."""
    facts, found, here = cluster.world.fabric.history, [], set()
    for fact in (fact for fact in facts if fact.vm == vm):
        if fact.deed == "ends":
            here.discard(fact.host)
        elif fact.host not in here:
            here.add(fact.host)
            found.append(fact.host)
    return found


def journal(cluster: Cluster, kind: str) -> list[str]:
    entries = cluster.world.etcd.list(cluster.world.keys.journal("")).items
    import json

    return [entry["text"] for kv in entries if (entry := json.loads(kv.value))["kind"] == kind]


def test_guest_that_answers_is_shown_as_healthy() -> None:
    async def scene(cluster: Cluster) -> Health | None:
        await add(cluster, probes=(probe(),))
        await cluster.rest()
        return health(cluster)

    assert in_cluster(scene) == Health(state=HealthState.HEALTHY, ready=True)


def test_guest_that_hangs_is_ended_and_recovered_as_if_it_had_crashed() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], list[str], list[str], Health | None]:
        await add(cluster, probes=(probe(),))
        await cluster.rest()
        cluster.hands.hang("web")
        await asyncio.sleep(8.0)
        await cluster.rest()
        assert cluster.violations() == []
        return boots(cluster), journal(cluster, "unwell"), journal(cluster, "stopped"), health(cluster)

    where, told, stopped, now = in_cluster(scene)
    assert len(where) == 2
    assert "probe db failed 3 times in a row: no answer within 0.5 s" in told[0]
    assert "probe db failed 3 times in a row" in stopped[0]
    assert now == Health(state=HealthState.HEALTHY, ready=True)


def test_its_restarts_count_as_those_of_a_crash() -> None:
    async def scene(cluster: Cluster) -> tuple[float, ...]:
        await add(cluster, probes=(probe(),), max_restarts=3, restart_window_s=600.0)
        await cluster.rest()
        cluster.hands.hang("web")
        await asyncio.sleep(8.0)
        await cluster.rest()
        placement = cluster.observer.snapshot.vms[VmName("web")].placement
        assert placement
        return placement.value.restarts

    assert len(in_cluster(scene)) == 1


def test_probe_that_is_for_readiness_only_ends_nobody() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], Health | None]:
        await add(cluster, probes=(probe(liveness=False),))
        await cluster.rest()
        cluster.hands.hang("web")
        await asyncio.sleep(20.0)
        return boots(cluster), health(cluster)

    where, now = in_cluster(scene)
    assert len(where) == 1
    assert now
    assert (now.state, now.ready) == (HealthState.FAILING, False)


def test_guest_that_must_not_be_killed_is_shown_as_failing_and_left_alone() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], Health | None]:
        await add(cluster, probes=(probe(),), no_kill=True)
        await cluster.rest()
        cluster.hands.hang("web")
        await asyncio.sleep(20.0)
        return boots(cluster), health(cluster)

    where, now = in_cluster(scene)
    assert len(where) == 1
    assert now
    assert now.state is HealthState.FAILING


def test_probe_whose_program_is_missing_says_nothing_about_the_guest() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], Health | None]:
        cluster.world.broken_probes["web"] = "/usr/local/bin/check can not be run on n1: no such file or directory"
        await add(cluster, probes=(probe(start_gate=True),))
        await asyncio.sleep(60.0)
        return boots(cluster), health(cluster)

    where, now = in_cluster(scene)
    assert len(where) == 1
    assert now
    assert not now.ready
    assert "can not be run on n1" in now.text


def test_start_is_over_only_when_its_gate_has_answered() -> None:
    async def scene(cluster: Cluster) -> tuple[VmState, VmState]:
        cluster.world.fabric.hang_at_boot("web", for_s=5.0)
        await add(cluster, probes=(probe(start_gate=True),))
        await asyncio.sleep(3.0)
        before = state(cluster)
        await cluster.rest()
        return before, state(cluster)

    assert in_cluster(scene) == (VmState.STARTING, VmState.RUNNING)


def test_start_whose_gate_does_not_answer_in_time_has_failed_and_is_tried_elsewhere() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], list[str]]:
        cluster.world.fabric.hang_at_boot("web", for_s=1000.0, host="n1")
        await add(cluster, probes=(probe(start_gate=True),))
        await asyncio.sleep(15.0)
        await cluster.rest()
        assert cluster.violations() == []
        return boots(cluster), journal(cluster, "stopped")

    where, told = in_cluster(scene)
    assert where == ["n1", "n2"]
    assert "did not answer within 10 s of the start" in told[0]


def test_gate_that_was_passed_is_not_one_any_more_after_a_migration() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], VmState]:
        await add(cluster, probes=(probe(start_gate=True, liveness=False),))
        await cluster.rest()
        cluster.hands.hang("web")
        await asyncio.sleep(5.0)
        here = cluster.where("web")[0]
        await cluster.hands.migrate("web", "n3" if here != "n3" else "n2")
        await asyncio.sleep(30.0)
        return [fact.host for fact in cluster.world.fabric.history if fact.deed == "ends"], state(cluster)

    ended, now = in_cluster(scene)
    assert len(ended) == 1  # at the source, by the migration
    assert now is VmState.RUNNING


def test_hung_guest_is_found_out_by_the_agent_process_after_one_that_died() -> None:
    async def scene(cluster: Cluster) -> list[str]:
        await add(cluster, probes=(probe(start_timeout_s=600.0),))
        await cluster.rest()
        (here,) = cluster.where("web")
        cluster.hands.host(here).kill_agent()
        cluster.hands.hang("web")
        await asyncio.sleep(15.0)
        await cluster.rest()
        return boots(cluster)

    assert len(in_cluster(scene)) == 2


def test_guest_agent_that_has_answered_and_falls_silent_shows_a_hung_guest() -> None:
    async def scene(cluster: Cluster) -> tuple[Health | None, list[str]]:
        await add(cluster, probes=(Probe(agent=True, interval_s=1.0, timeout_s=0.5, start_timeout_s=3.0),))
        await asyncio.sleep(10.0)
        without = health(cluster)
        cluster.world.fabric.has_agent("web")
        await asyncio.sleep(3.0)
        cluster.hands.hang("web")
        await asyncio.sleep(10.0)
        await cluster.rest()
        return without, boots(cluster)

    without, where = in_cluster(scene)
    assert without
    assert without.state is HealthState.UNKNOWN
    assert len(where) == 2


def test_what_needs_it_waits_until_its_probe_answers() -> None:
    async def scene(cluster: Cluster) -> tuple[list[str], list[str]]:
        cluster.world.fabric.hang_at_boot("db", for_s=6.0)
        await add(cluster, "db", probes=(probe(),))
        await add(cluster, "web", depends_on=(Dependency(vm="db"),))
        await asyncio.sleep(4.0)
        before = cluster.where("web")
        await cluster.rest()
        return before, cluster.where("web")

    before, after = in_cluster(scene)
    assert (before, len(after)) == ([], 1)


def test_operation_that_starts_it_is_done_only_when_its_gate_has_answered() -> None:
    async def scene(cluster: Cluster) -> tuple[Phase, RunEnd | None]:
        await add(cluster, probes=(probe(start_gate=True),))
        await cluster.rest()
        cluster.world.fabric.hang_at_boot("web", for_s=5.0)
        request = await cluster.hands.restart("web")
        await asyncio.sleep(4.0)
        early = cluster.observer.snapshot.outcomes[request.id].progress
        assert early == "running"
        await cluster.rest()
        assert cluster.observer.snapshot.outcomes[request.id].progress == "done"
        placement = cluster.observer.snapshot.vms[VmName("web")].placement
        assert placement
        return placement.value.phase, placement.value.ended

    assert in_cluster(scene)[0] is Phase.HELD
