"""A migration that fails leaves the guest running at its source; whoever named no target has another one tried."""

import pytest

from tests.sim.probes import add_running, answered, placement, starts
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.records import Phase, Progress


@pytest.mark.parametrize("target", ["n2", None])
def test_failed_migration_leaves_the_guest_running_at_its_source_with_its_memory(target: str | None) -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        booted = len(starts(cluster, "web"))
        cluster.world.fabric.fail_migration("web", times=3)
        request = await cluster.hands.migrate("web", target)
        said = await answered(cluster, request.id, timeout_s=60.0)
        await cluster.rest()
        assert said.progress is Progress.FAILED
        assert said.text.startswith("web stays on n1: ")
        assert ("(tried n2, n3, n" in said.text) == (target is None)
        assert cluster.where("web") == ["n1"]
        assert len(starts(cluster, "web")) == booted  # live: it has never even stood still
        held = placement(cluster, "web")
        assert held is not None
        assert (held.phase, held.node) == (Phase.HELD, "n1")
        assert len(held.failures) == (1 if target else 3)
        assert cluster.violations() == []

    in_cluster(scene)


def test_request_without_a_target_goes_to_another_node_when_the_first_one_fails() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.world.fabric.fail_migration("web", times=1)
        request = await cluster.hands.migrate("web", None)
        said = await answered(cluster, request.id, timeout_s=60.0)
        assert said.progress is Progress.DONE
        assert cluster.where("web") == ["n3"]  # n2, more preferred, rests after its failure

    in_cluster(scene)


def test_drain_goes_on_until_a_node_has_taken_the_vm() -> None:
    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        cluster.world.fabric.fail_migration("web", times=6)
        await cluster.hands.drain("n1")
        await until(lambda: cluster.where("web") in (["n2"], ["n3"]), what="it has left", timeout_s=600.0)
        await cluster.rest()
        held = placement(cluster, "web")
        assert held is not None
        assert len([failure for failure in held.failures if failure.moving]) == 6
        assert cluster.violations() == []

    in_cluster(scene)
