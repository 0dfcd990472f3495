"""Whole members on a real etcd that dies, with TCP between them: guests outlive it, and nobody is fenced for it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.etcd import RealEtcd
from tests.support.members import TIMING, RealCluster, real_cluster
from tests.support.until import until
from vmha.model.ids import NodeName

pytestmark = pytest.mark.real


@pytest.fixture
def one() -> Iterator[RealEtcd]:
    with RealEtcd() as etcd:
        yield etcd


@pytest.fixture
async def cluster(one: RealEtcd) -> AsyncIterator[RealCluster]:
    """Three nodes that all name each other in their beats; ``web`` is at home on n1."""
    async with real_cluster(one, secret=b"known to these three agents only") as running:
        await running.add_running("web", "n1")
        await until(lambda: all(len(names) == 2 for names in promisers(running)), what="everybody names everybody")
        yield running


def promisers(cluster: RealCluster) -> list[tuple[NodeName, ...]]:
    beats = [view.beat for view in cluster.nodes["n1"].snapshot().nodes.values()]
    return [beat.value.promisers if beat else () for beat in beats]


async def start_etcd(cluster: RealCluster) -> None:
    cluster.etcd.launch(0)
    await asyncio.to_thread(cluster.etcd.wait_healthy, 0)


async def test_etcd_killed_for_much_longer_than_the_hold_ends_no_guest_and_no_session(cluster: RealCluster) -> None:
    sessions = {name: node.session for name, node in cluster.nodes.items()}
    cluster.etcd.kill(0)
    await cluster.stays(lambda: cluster.where("web") == ["n1"], 3 * TIMING.hold_s, "web on n1")
    await start_etcd(cluster)
    await cluster.until_online(timeout_s=30.0)
    await cluster.until_leader()
    await cluster.stays(lambda: cluster.where("web") == ["n1"], TIMING.dead_after_s, "web on n1")
    assert {name: node.session for name, node in cluster.nodes.items()} == sessions
    assert cluster.starts("web") == 1
    assert (await cluster.operator.read()).fenced == {}
    told = await cluster.journal("failsafe")
    assert any("no guest was ended" in entry.text for entry in told)


async def test_agent_killed_while_etcd_is_down_takes_its_promise_with_it(cluster: RealCluster) -> None:
    cluster.etcd.kill(0)
    await cluster.stays(lambda: cluster.where("web") == ["n1"], 1.5 * TIMING.hold_s, "web on n1")
    await cluster.nodes["n3"].stop_agent()
    await until(lambda: cluster.where("web") == [], what="its guard's deadline", timeout_s=3 * TIMING.hold_s)
    await start_etcd(cluster)
    await until(lambda: len(cluster.where("web")) == 1, what="it runs again", timeout_s=40.0)
