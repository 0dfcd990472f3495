"""Vms that need others or want a node for themselves, with the real agents and leader."""

from tests.sim.probes import add_running, placement, runs_on
from tests.sim.test_scenarios import ends_on, moves, played, report
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.twin.fabric_state import Deed
from vmha.model.records import Phase
from vmha.operator import vms


def begins(name: str, vm: str) -> list[float]:
    facts = [fact for fact in played(name)[0].history if fact.vm == vm]
    return [fact.time for before, fact in zip([None, *facts], facts, strict=False) if is_begin(before, fact)]


def is_begin(before: object, fact: object) -> bool:
    return getattr(fact, "deed", None) is Deed.RUNS and getattr(before, "deed", Deed.ENDS) is Deed.ENDS


def ends(name: str, vm: str) -> list[float]:
    return [fact.time for fact in played(name)[0].history if fact.vm == vm and fact.deed is Deed.ENDS]


def test_application_is_started_after_its_database_each_time() -> None:
    database, application = begins("dependencies", "db"), begins("dependencies", "app")
    assert len(database) == len(application) == 3
    assert all(first < then for first, then in zip(database, application, strict=True))


def test_application_ends_before_its_database_when_that_is_stopped_and_after_it_when_that_is_lost() -> None:
    lost, stopped = ends("dependencies", "db")
    after_loss, before_stop = ends("dependencies", "app")
    assert lost < after_loss
    assert before_stop < stopped


def test_soft_need_is_an_order_of_starts_and_no_more() -> None:
    assert ends("dependencies", "cron") == []
    assert begins("dependencies", "cron")[0] >= begins("dependencies", "app")[0] + 2.0


def test_more_important_exclusive_vm_takes_the_last_node_and_all_are_alone_at_every_time() -> None:
    assert ("start", "n2") in moves("exclusive", "master")
    assert ends_on("exclusive", "master") == "n1"
    assert ends_on("exclusive", "slave") == "n2"
    assert ends_on("exclusive", "web") is None
    assert report("exclusive").verdict.holds


def test_vm_that_waits_for_an_exclusive_one_says_who_is_where() -> None:
    (waiting,) = [line for line in report("exclusive").vms if line.name == "web"]
    assert "runs master, which is exclusive" in waiting.reason
    assert "runs slave, which is exclusive" in waiting.reason


def test_vm_brought_by_hand_to_an_exclusive_ones_node_stays_there() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "gpu", exclusive=1)
        await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
        await cluster.rest()
        assert cluster.where("web") == ["n2"]
        cluster.hands.virsh_migrate("web", "n1")
        await runs_on(cluster, "web", "n1", timeout_s=20.0)
        await cluster.rest()
        assert (cluster.where("web"), cluster.where("gpu")) == (["n1"], ["n1"])
        assert cluster.violations() == []

    in_cluster(scene)


def test_vm_whose_need_is_removed_runs_on_and_waits_with_its_next_start() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "db")
        await cluster.hands.add("app", memory_mib=1024, vcpus=1, start=True, depends_on=["db"])
        await cluster.rest()
        await cluster.hands.remove("db")
        await cluster.rest()
        assert len(cluster.where("app")) == 1
        cluster.hands.crash("app")

        def waits() -> bool:
            held = placement(cluster, "app")
            return held is not None and held.phase is Phase.STOPPED and "not defined" in held.reason.text

        await until(waits, what="app waits for db", timeout_s=20.0)
        await vms.edit(cluster.hands.operator, "app", depends_on=[])
        await cluster.rest()
        assert len(cluster.where("app")) == 1

    in_cluster(scene)
