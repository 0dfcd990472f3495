"""What is foreseen is what happens: the same supposition in a forecast, and then to the cluster itself."""

from collections.abc import Awaitable, Callable

import pytest

from tests.support.worlds import Cluster, in_cluster
from vmha.model.ids import NodeName
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.operator.forecast import tell
from vmha.policy.state.snapshot import Snapshot

VMS = {"big": 9000, "mid": 6000, "web": 2000, "db": 2000, "log": 500, "app": 8000}


async def cut(cluster: Cluster) -> None:
    cluster.hands.host("n1").power_off()


async def drain(cluster: Cluster) -> None:
    await cluster.hands.drain("n1")


def places(snapshot: Snapshot) -> dict[str, NodeName | None]:
    return {str(name): vm.placement.value.node if vm.placement else None for name, vm in snapshot.vms.items()}


@pytest.mark.parametrize(("supposed", "act"), [("node n1 lost", cut), ("node n1 drained", drain)])
def test_vms_end_up_where_it_was_foreseen(supposed: str, act: Callable[[Cluster], Awaitable[None]]) -> None:
    async def scene(cluster: Cluster) -> None:
        members = tuple(FailoverDomainMember(node=f"n{rank}", priority=rank) for rank in (1, 2, 3))
        await cluster.hands.add_domain(FailoverDomain(name="home", ordered=True, members=members))
        for number, (name, memory_mib) in enumerate(VMS.items()):
            domain = {"failover_domain": "home"} if number % 2 == 0 else {}
            await cluster.hands.add(name, memory_mib=memory_mib, vcpus=1, start=True, **domain)
            await cluster.rest()
        snapshot = await cluster.hands.operator.read()
        assert [name for name, node in places(snapshot).items() if node == "n1"]
        foreseen = tell(snapshot, [supposed], wall=cluster.world.clock.wall()).forecast
        assert foreseen.moves
        await act(cluster)
        await cluster.rest()
        assert places(await cluster.hands.operator.read()) == places(foreseen.then)

    in_cluster(scene)
