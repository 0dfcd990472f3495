"""What arrived by a migration can not be let go at its target: the vm comes back, and nothing stands still for ever."""

import asyncio

import pytest

from tests.sim.probes import add_running, placement
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.sim.journal import read_journal

SOURCE, TARGET = "n1", "n2"


async def arrive(cluster: Cluster, *, by: str = "migrate", **spec: object) -> None:
    """It stands at its target, which holds it, and is not let go."""
    await add_running(cluster, "web", on=(SOURCE, TARGET, "n3"), **spec)
    cluster.world.fabric.refuse_to_resume("web", host=TARGET)
    await (cluster.hands.migrate("web", TARGET) if by == "migrate" else cluster.hands.drain(SOURCE))
    await until(lambda: "not-let-go" in kinds(cluster), what="it can not be let go", timeout_s=30.0)
    assert cluster.world.fabric.instances("web") == [(TARGET, DomainState.ARRIVED)]


def kinds(cluster: Cluster) -> list[str]:
    return [line.kind for line in read_journal(cluster.world.record.catch_up().lines)]


def shown(cluster: Cluster) -> str:
    view = cluster.observer.snapshot.vms["web"]  # type: ignore[index]
    return view.seen[TARGET].progress  # type: ignore[index]


def test_guest_that_can_be_let_go_after_a_while_goes_on_as_it_came() -> None:
    async def scene(cluster: Cluster) -> None:
        await arrive(cluster)
        await asyncio.sleep(10.0)
        assert "write lock" in shown(cluster)
        cluster.world.fabric.refuse_to_resume("web", host=TARGET, refuses=False)
        await until(lambda: cluster.where("web") == [TARGET], what="it goes on", timeout_s=5.0)
        await cluster.rest()
        assert shown(cluster) == ""
        assert kinds(cluster).count("not-let-go") == 1
        held = placement(cluster, "web")
        assert held
        assert (held.node, held.epoch) == (TARGET, 2), "it was not booted"
        assert cluster.violations() == []

    in_cluster(scene)


def test_guest_that_can_not_be_let_go_is_given_up_and_the_vm_boots_elsewhere() -> None:
    async def scene(cluster: Cluster) -> None:
        await arrive(cluster, by="drain")
        await until(lambda: cluster.where("web") == ["n3"], what="it boots elsewhere", timeout_s=60.0)
        await cluster.rest()
        assert [state for _, state in cluster.world.fabric.instances("web")] == [DomainState.RUNNING]
        told = [line.text for line in read_journal(cluster.world.record.catch_up().lines) if line.kind == "stopped"]
        assert "it had arrived, and could not be let go" in told[-1]
        assert cluster.violations() == []

    in_cluster(scene)


@pytest.mark.parametrize("kept_by", ["no_kill", "a freeze"])
def test_guest_that_must_not_be_ended_is_tried_for_as_long_as_it_takes(kept_by: str) -> None:
    async def scene(cluster: Cluster) -> None:
        await arrive(cluster, no_kill=kept_by == "no_kill")
        if kept_by == "a freeze":
            await cluster.hands.freeze("web")
        await asyncio.sleep(90.0)
        assert cluster.world.fabric.instances("web") == [(TARGET, DomainState.ARRIVED)]
        cluster.world.fabric.refuse_to_resume("web", host=TARGET, refuses=False)
        if kept_by == "a freeze":
            await cluster.hands.unfreeze("web")
        await until(lambda: len(cluster.where("web")) == 1, what="it goes on", timeout_s=60.0)
        assert cluster.violations() == []

    in_cluster(scene)
