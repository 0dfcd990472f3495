"""How often a vm was restarted is on record: neither its agent, nor its leader, nor its moves make that forgotten."""

from tests.sim.probes import add_running, placement
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.vm import Desired, Recovery
from vmha.operator import vms


async def crash(cluster: Cluster, *, runs_again: bool = True) -> None:
    before = placement(cluster, "web")
    assert before is not None
    cluster.hands.crash("web")

    def is_over() -> bool:
        now = placement(cluster, "web")
        return now is not None and (not cluster.where("web") if not runs_again else now.epoch > before.epoch)

    await until(is_over, what="what follows its crash", timeout_s=60.0)
    await cluster.rest()


def leader(cluster: Cluster) -> str:
    found = cluster.observer.snapshot.leader
    return found.value.node if found else ""


async def desired(cluster: Cluster) -> Desired:
    return vms.find_spec(await cluster.hands.operator.read(), "web").value.desired


def test_restarts_are_counted_over_agents_moves_and_leaders_and_the_last_one_disables() -> None:
    async def scene(cluster: Cluster) -> None:
        spec = {"recovery": Recovery.RESTART_DISABLE, "max_restarts": 2, "restart_window_s": 3600.0}
        await add_running(cluster, "web", **spec)
        await crash(cluster)
        (home,) = cluster.where("web")
        cluster.hands.host(home).kill_agent()
        cluster.hands.host(home).start_agent()
        await cluster.rest()
        target = next(node for node in ("n1", "n2", "n3") if node not in (home, leader(cluster)))
        await cluster.hands.migrate("web", target)
        await until(lambda: cluster.where("web") == [target], what="it has moved", timeout_s=60.0)
        await cluster.rest()
        await crash(cluster)
        first = leader(cluster)
        cluster.hands.host(first).kill_agent()
        await until(lambda: leader(cluster) not in ("", first), what="another one leads", timeout_s=90.0)
        cluster.hands.host(first).start_agent()
        await cluster.rest()
        assert cluster.where("web") == [target]
        assert await desired(cluster) is Desired.RUNNING
        await crash(cluster, runs_again=False)
        assert await desired(cluster) is Desired.DISABLED
        assert cluster.violations() == []

    in_cluster(scene)
