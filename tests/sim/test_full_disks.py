"""A disk of a node that takes nothing any more: what it costs, and what is said of it."""

import asyncio

from tests.sim.probes import add_running
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName

FULL = "/var/lib/vmha/managed.json: No space left on device"


def is_told(cluster: Cluster) -> bool:
    status = cluster.observer.snapshot.nodes[NodeName("n1")].status
    return status is not None and any(FULL in note for note in status.value.notes)


def test_node_whose_disk_is_full_answers_for_what_its_former_session_held_and_says_what_is_wrong() -> None:
    """Its agent was away for longer than its guard waits, and back before others could conclude: only it can say so."""

    async def scene(cluster: Cluster) -> None:
        await add_running(cluster, "web")
        host = cluster.hands.host("n1")
        host.gate.disk_trouble = FULL
        host.stop_agent()
        await asyncio.sleep(4.5)
        assert cluster.where("web") == []
        host.start_agent()
        await until(lambda: len(cluster.where("web")) == 1, what="it runs again", timeout_s=20.0)
        await until(lambda: is_told(cluster), what="it is told", timeout_s=20.0)
        host.gate.disk_trouble = ""
        await until(lambda: not is_told(cluster), what="it is not told any more", timeout_s=30.0)
        assert cluster.violations() == []

    in_cluster(scene)
